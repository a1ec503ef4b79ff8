"""Who opened a link."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fluido.redis.link import Link


class Owner(Protocol):
    """What a link tells the one who opened it."""

    def on_room(self) -> None:
        """Replies have come and there may be room for callers that wait."""

    def on_flush(self, link: "Link", commands: int) -> None:
        """So many commands left in one write."""

    def on_batch(self, link: "Link", commands: int, sent_s: float) -> None:
        """The replies of a write that left at `sent_s` are complete."""

    def on_lost(self, link: "Link") -> None:
        """The link is closed; its commands have got their results."""

    def on_stall(self, link: "Link") -> bool:
        """The next reply does not come; whether commands that only read have another way."""

    def may_replace(self, link: "Link") -> bool:
        """Whether another link may be opened in the place of one that is busy for long."""

    def on_large(self, name: str, key: bytes) -> None:
        """The reply to this command is large."""
