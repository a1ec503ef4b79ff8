"""What was said with each user, kept in this process for callers who bring no database."""

from collections import OrderedDict

from .history import Transcript, bounded

MAX_MESSAGES = 200
MAX_CHARS = 64_000


class Recall:
    """The transcripts of the `max_users` most recent users."""

    def __init__(self, max_users: int) -> None:
        self._max_users = max_users
        self._transcripts: OrderedDict[str, Transcript] = OrderedDict()

    def of(self, user_id: str) -> Transcript:
        """Return what was said; empty for a stranger."""
        return self._transcripts.get(user_id, Transcript(None, ()))

    def keep(self, user_id: str, transcript: Transcript) -> None:
        """Keep the newest transcript of a user; the user longest silent is forgotten first."""
        turns = tuple(bounded(transcript.turns, MAX_MESSAGES, MAX_CHARS))
        self._transcripts[user_id] = Transcript(transcript.last_id, turns)
        self._transcripts.move_to_end(user_id)
        while len(self._transcripts) > self._max_users:
            self._transcripts.popitem(last=False)
