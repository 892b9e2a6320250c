"""The two pollers of an account, together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from engine.journal.port import TrackingJournal
from engine.tracking.poller import Poller, replay


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a stretch of tracking came to. `fresh` records changed something; `stopped` and `trouble` name kinds and reasons."""

    asked: int
    records: int
    fresh: int
    opted_out: int
    lost: int
    unreadable: int
    replayed: int
    stopped: dict[str, str]
    trouble: dict[str, str]


class Tracker:
    """Runs the pollers beside each other. One that stops does not stop the other."""

    def __init__(self, account: str, journal: TrackingJournal, pollers: list[Poller]) -> None:
        self._account, self._journal, self._pollers = account, journal, pollers
        self._replayed = 0

    async def run(self, stop: asyncio.Event, *, until_empty: bool = False) -> None:
        """Poll until `stop`, or until the queues are empty. Raises JournalError.

        First what is kept unread.
        """
        await self.read_kept()
        try:
            async with asyncio.TaskGroup() as group:
                for poller in self._pollers:
                    group.create_task(poller.run(stop, until_empty=until_empty), name=f"poller of {poller.kind.value}s")
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures

    async def caught_up(self) -> None:
        """Return when every queue was found empty, or waiting for that is in vain."""
        for poller in self._pollers:
            await poller.caught_up.wait()

    async def read_kept(self) -> None:
        """Read what an earlier process asked for and was killed before it read: who opted out in it is not sent to.

        Asks the gateway nothing. Raises JournalError.
        """
        await replay(self._journal, self._account, self._pollers, untried=True)

    async def replay(self) -> int:
        """Read kept answers again that could not be read. Returns how many can be read now. Raises JournalError."""
        self._replayed += await replay(self._journal, self._account, self._pollers)
        return self._replayed

    @property
    def tally(self) -> Tally:
        """What it came to so far."""
        pollers = self._pollers
        return Tally(
            asked=sum(p.asked for p in pollers),
            records=sum(p.records for p in pollers),
            fresh=sum(p.fresh for p in pollers),
            opted_out=sum(p.opted_out for p in pollers),
            lost=sum(p.lost for p in pollers),
            unreadable=sum(p.unreadable for p in pollers),
            replayed=self._replayed,
            stopped={p.kind.value: p.stopped for p in pollers if p.stopped},
            trouble={p.kind.value: p.trouble for p in pollers if p.trouble and not p.stopped},
        )
