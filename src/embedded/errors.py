"""What the ground raises."""


class GroundError(RuntimeError):
    """A server of the ground cannot run; the message is a sentence that says what to do.

    Raised for: a wheel that this platform does not have, a full disk, a data folder in use, a server that
    dies or does not answer while it starts (the end of its log follows the sentence).
    """
