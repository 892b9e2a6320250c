"""Points that come and go without a send of ours: payments, what others spend, and refunds."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush

from engine.simulator.books import Books, Move, Movement
from engine.simulator.faults import chance
from engine.simulator.reports import Fates, Task
from engine.simulator.settings import SimulatorSettings

FOREIGN_POINTS = 9
"""The most that others spend at a time."""


class Points:
    """Moves the balance in the books. What comes by itself is moved when the balance is touched: nobody sees it earlier.

    How much others spend, and how long they wait between, depends on the seed and on how often the balance moved before.
    """

    def __init__(
        self, books: Books, settings: SimulatorSettings, *, wall: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._books, self._settings, self._wall, self._monotonic = books, settings, wall, monotonic
        self._foreign_at = self._next_foreign()
        self._refunds: list[tuple[float, int, int]] = []  # a heap: due on the gateway's own clock, task, points
        refunded = {movement.task_id for movement in books.movements if movement.kind is Move.REFUND}
        for task in books.tasks:
            if task.task_id not in refunded:
                self.promise_refund(task)

    def change(self, settings: SimulatorSettings) -> None:
        """From now on these settings hold. Refunds that were promised still come."""
        before, self._settings = self._settings, settings
        if settings.foreign_per_s != before.foreign_per_s:
            self._foreign_at = self._next_foreign()

    def top_up(self, points: int) -> None:
        """Somebody pays."""
        self._move(Move.TOP_UP, points)

    def spend(self, points: int) -> None:
        """Somebody else sends from this account."""
        self._move(Move.FOREIGN, -points)

    def promise_refund(self, task: Task) -> None:
        """The points of the numbers that will not be reached come back when the last of them has failed."""
        if self._settings.refunds:
            due, points = Fates(settings=self._settings).refund_of(task)
            if points:
                heappush(self._refunds, (due, task.task_id, points))

    def pass_time(self, own_now: float) -> None:
        """Move what others spent and what came back until now, which is given on the gateway's own clock too."""
        if self._foreign_at <= self._monotonic():
            self._let_others_spend()
        while self._refunds and self._refunds[0][0] <= own_now:
            _, task_id, points = heappop(self._refunds)
            self._move(Move.REFUND, points, task_id)

    def _let_others_spend(self) -> None:
        while self._foreign_at <= self._monotonic():
            points = 1 + int(self._chance("points") * FOREIGN_POINTS)
            if self._settings.prepaid and points > self._books.balance:
                self._foreign_at = self._next_foreign()
                return
            self.spend(points)
            self._foreign_at += self._wait_s()

    def _next_foreign(self) -> float:
        """The monotonic time at which others spend next."""
        return self._monotonic() + self._wait_s() if self._settings.foreign_per_s else math.inf

    def _wait_s(self) -> float:
        mean_s = (1 + FOREIGN_POINTS) / 2 / self._settings.foreign_per_s
        return -math.log(1 - self._chance("wait")) * mean_s

    def _chance(self, what: str) -> float:
        return chance(self._settings.seed, "foreign", what, len(self._books.movements))

    def _move(self, kind: Move, points: int, task_id: int | None = None) -> None:
        if points:
            self._books.move(Movement(at=self._wall(), kind=kind, points=points, task_id=task_id))
