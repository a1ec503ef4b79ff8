"""A crowd that asks again at once: who is served how often, and who waits longest."""

import asyncio
from dataclasses import replace

from bench.load import Load, Send
from bench.trial import Taken
from bench.workloads import Lengths, NewConversations

PEOPLE = 24
TURNS = 60


class CrowdArm:
    """24 people with a conversation each, in a closed loop without thought, for a block of `block_s`."""

    def __init__(self, name: str, send: Send, lengths: Lengths, block_s: float, deadline_s: float) -> None:
        self.name = name
        self._load = Load(send, deadline_s=deadline_s)
        self._workload = NewConversations(lengths, turns=TURNS)
        self._block_s = block_s

    async def run(self, seed: int) -> Taken:
        """The same seed gives the same conversations; who gets further asked more of the same list."""
        sessions = self._workload.sessions(PEOPLE, seed=seed, namespace=f"crowd-{seed}")
        loops = [self._load.closed_loop([session], crew=1, duration_s=self._block_s) for session in sessions]
        samples = [
            replace(sample, user=str(person))
            for person, mine in enumerate(await asyncio.gather(*loops))
            for sample in mine
        ]
        return Taken(sorted(samples, key=lambda sample: sample.intended_s))
