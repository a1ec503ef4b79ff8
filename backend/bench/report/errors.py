"""What the reader of the documents is told when a file cannot be used."""


class ReportError(Exception):
    """The sentence is in Spanish and complete: it is printed as it is, and the command ends with 2."""
