"""How many requests may wait for their answer at one time. It may become more or fewer at any time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from engine.dispatch.line import Line
from engine.dispatch.windows import NEVER


@dataclass(slots=True)
class _Wish:
    unless: asyncio.Event | None


class Slots:
    """First come, first served. With fewer than are taken, nobody gets one until enough are given back."""

    def __init__(self, limit: int) -> None:
        self.limit, self.taken = limit, 0
        self._line = Line[_Wish](lambda: 0.0, free_at=self._free_at, go=self._take, undo=lambda wish: self.give())

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._line)

    async def take(self, unless: asyncio.Event | None = None) -> bool:
        """Wait for a slot. False: `unless` was set first. Every slot taken is given back."""
        return await self._line.stand(_Wish(unless)) is not None

    def take_at_once(self) -> bool:
        """Take one if it is there and nobody waits for it. For whoever has looked at their `unless`."""
        if self.taken >= self.limit or len(self._line):
            return False
        self.taken += 1
        return True

    def give(self) -> None:
        """Give a slot back."""
        self.taken -= 1
        if len(self._line):
            self._line.sweep()

    def change(self, limit: int) -> None:
        """From now on so many."""
        if limit != self.limit:
            self.limit = limit
            self._line.sweep()

    def let_go(self) -> None:
        """Send home everybody whose `unless` is set."""
        self._line.let_go()

    def _free_at(self, now: float, _: _Wish) -> float:
        return now if self.taken < self.limit else NEVER

    def _take(self, _: float, __: _Wish) -> None:
        self.taken += 1
