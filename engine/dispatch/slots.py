"""How many requests may wait for their answer at one time. It may become more or fewer at any time."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from engine.dispatch.line import Line
from engine.dispatch.windows import NEVER


@dataclass(slots=True)
class _Wish:
    unless: asyncio.Event | None
    until_s: float = NEVER  # on the loop's clock
    is_late: bool = False

    @property
    def goes_home(self) -> bool:
        return self.is_late or (self.unless is not None and self.unless.is_set())


class Slots:
    """First come, first served. With fewer than are taken, nobody gets one until enough are given back."""

    def __init__(self, limit: int, *, patience_s: float = NEVER) -> None:
        """Who has waited for `patience_s` goes home without one. One timer serves all: one for each costs 15 µs."""
        self.limit, self.taken = limit, 0
        self._patience_s = patience_s
        self._patient: deque[_Wish] = deque()  # in the order in which they lose their patience; some have their slot
        self._timer: asyncio.TimerHandle | None = None
        self._line = Line[_Wish](lambda: 0.0, free_at=self._free_at, go=self._take, undo=lambda wish: self.give())

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._line.waiting)

    async def take(self, unless: asyncio.Event | None = None) -> bool:
        """Wait for a slot. False: `unless` was set first, or patience ended. Every slot taken is given back."""
        wish = _Wish(unless)
        if self._patience_s != NEVER:
            self._expect(wish, asyncio.get_running_loop())
        return await self._line.stand(wish) is not None

    def _expect(self, wish: _Wish, loop: asyncio.AbstractEventLoop) -> None:
        wish.until_s = loop.time() + self._patience_s
        self._patient.append(wish)
        if self._timer is None:
            self._timer = loop.call_at(wish.until_s, self._lose_patience, loop)

    def _lose_patience(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        while self._patient and self._patient[0].until_s <= now_s:
            self._patient.popleft().is_late = True
        self._timer = None
        if self._patient:
            self._timer = loop.call_at(self._patient[0].until_s, self._lose_patience, loop)
        self._line.let_go()

    def take_at_once(self) -> bool:
        """Take one if it is there and nobody waits for it. For whoever has looked at their `unless`."""
        if self.taken >= self.limit or self._line.waiting:
            return False
        self.taken += 1
        return True

    def give(self) -> None:
        """Give a slot back."""
        self.taken -= 1
        if self._line.waiting:
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
