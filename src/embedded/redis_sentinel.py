"""Redis Sentinel: watches a primary, promotes a replica when it dies. For tests and trials of failover."""

from pathlib import Path

from embedded.redis import Redis


class RedisSentinel(Redis):
    """One sentinel that watches `primary` under `group`; it finds the replicas and other sentinels itself.

    `down_after_ms` without an answer counts as death; `quorum` sentinels must agree.
    """

    name = "Redis Sentinel"

    def __init__(
        self,
        data_dir: Path,
        primary: Redis,
        *,
        group: str = "mymaster",
        quorum: int = 1,
        down_after_ms: int = 500,
        port: int | None = None,
        folder: str = "sentinel",
    ) -> None:
        super().__init__(data_dir, port=port, password="", folder=folder)
        self.primary = primary
        self.group = group
        self._quorum = quorum
        self._down_after_ms = down_after_ms

    def arguments(self) -> tuple[str, ...]:
        return ("--sentinel",)

    def configuration(self) -> list[str]:
        lines = [
            *self.place(),
            f"sentinel monitor {self.group} 127.0.0.1 {self.primary.port} {self._quorum}",
            f"sentinel down-after-milliseconds {self.group} {self._down_after_ms}",
            f"sentinel failover-timeout {self.group} {6 * self._down_after_ms}",
            f"sentinel parallel-syncs {self.group} 1",
        ]
        if self.primary.password:
            lines.append(f"sentinel auth-pass {self.group} {self.primary.password}")
        return lines
