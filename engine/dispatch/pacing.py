"""Pace: in every window, measured at the gateway under network jitter up to the guard, requests and numbers stay within
their limits.

Two steps, because the intent is written between them. `admit` waits until a request may soon leave, before its intent is
durable: at one request a second, sixteen waiting workers must not be sixteen doubts when the process dies. `gate` is exact
and is the last wait before the write. Requests of an earlier process still count: they are handed in as `earlier`.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable

from aiolimiter import AsyncLimiter

GUARD_S = 0.020
BEHIND_S = 0.25
"""Who stands longer at the gate was admitted too early: a stalled disk let the schedule run ahead of what really left."""


class WindowLog:
    """What left in the last `window_s` seconds, against a limit for every such window. Times on one monotonic clock."""

    def __init__(self, limit: int, window_s: float) -> None:
        self.limit, self.window_s = limit, window_s
        self._entries: deque[tuple[float, int]] = deque()
        self._sum = 0

    def free_at(self, now: float, amount: int) -> float:
        """The earliest time, `now` or later, at which `amount` more fit into every window that ends then."""
        self._forget(now)
        excess = self._sum + amount - self.limit
        if excess <= 0:
            return now
        for left, weight in self._entries:
            excess -= weight
            if excess <= 0:
                return left + self.window_s
        return now + self.window_s  # more than the limit by itself; planning refuses that

    def add(self, at: float, amount: int) -> None:
        """Count what leaves at `at`."""
        self._entries.append((at, amount))
        self._sum += amount

    def _forget(self, now: float) -> None:
        while self._entries and self._entries[0][0] + self.window_s <= now:
            self._sum -= self._entries.popleft()[1]


class _Limit:
    """One limit (of requests, or of numbers) in both steps: as scheduled, and as it really left."""

    def __init__(self, limit: int, window_s: float) -> None:
        self.scheduled, self.left = WindowLog(limit, window_s), WindowLog(limit, window_s)


class Pace:
    """The pace of one account. Rates in units per second; 0 means no limit. First come, first served.

    `window_s` is the vendor's window. A rate that does not fill one unit per window makes the window longer instead.
    `earlier` are (age in seconds, numbers) of requests that left before this pace existed.
    """

    def __init__(
        self,
        *,
        requests_per_second: float,
        numbers_per_second: float,
        window_s: float,
        clock: Callable[[], float],
        guard_s: float = GUARD_S,
        earlier: Iterable[tuple[float, int]] = (),
    ) -> None:
        self._clock = clock
        self._requests = _limit(requests_per_second, window_s, guard_s)
        self._numbers = _limit(numbers_per_second, window_s, guard_s)
        self.unlimited = self._requests is None and self._numbers is None
        self._smoother = _smoother(self._requests)
        self._admission, self._gate = asyncio.Lock(), asyncio.Lock()
        self._behind = False
        now = clock()
        for age_s, numbers in earlier:
            for log, amount in (*self._scheduled(numbers), *self._left(numbers)):
                log.add(now - max(0.0, age_s), amount)  # a wall clock that was set back makes ages negative

    async def admit(self, numbers: int, *, unless: asyncio.Event | None = None) -> None:
        """Wait until a request of so many numbers may leave within moments. Who queues when `unless` is set goes on at once."""
        if self.unlimited:
            return
        async with self._admission:  # aiolimiter serves the smallest first; under one lock the queue is fair
            if unless is not None and unless.is_set():
                return
            if self._smoother is not None:
                await self._smoother.acquire()
            await self._pass(self._scheduled(numbers))
            if self._behind:  # without this the schedule would stay ahead for ever: both run at the same rate
                async with self._gate:
                    await self._until_free(self._left(numbers))

    def takes_s(self, requests: int, numbers: int) -> float:
        """How long so many requests with so many numbers in all take at the full pace, in seconds."""
        amounts = ((self._requests, requests), (self._numbers, numbers))
        return max(
            (n * limit.left.window_s / limit.left.limit for limit, n in amounts if limit is not None), default=0.0
        )

    async def gate(self, numbers: int) -> float:
        """Wait until the request may leave now, and count it. Returns how many seconds that took."""
        if self.unlimited:
            return 0.0
        asked_s = self._clock()
        async with self._gate:
            left_s = await self._pass(self._left(numbers))
        self._behind = left_s - asked_s > BEHIND_S
        return left_s - asked_s

    async def _pass(self, logs: list[tuple[WindowLog, int]]) -> float:
        at = await self._until_free(logs)
        for log, amount in logs:
            log.add(at, amount)
        return at

    async def _until_free(self, logs: list[tuple[WindowLog, int]]) -> float:
        at = self._clock()
        while (free := max(log.free_at(at, amount) for log, amount in logs)) > at:
            await asyncio.sleep(free - at)
            at = self._clock()
        return at

    def _scheduled(self, numbers: int) -> list[tuple[WindowLog, int]]:
        return [(limit.scheduled, amount) for limit, amount in self._limits(numbers)]

    def _left(self, numbers: int) -> list[tuple[WindowLog, int]]:
        return [(limit.left, amount) for limit, amount in self._limits(numbers)]

    def _limits(self, numbers: int) -> list[tuple[_Limit, int]]:
        return [
            (limit, amount) for limit, amount in ((self._requests, 1), (self._numbers, numbers)) if limit is not None
        ]


def numbers_that_fit(numbers_per_second: float, window_s: float) -> int | None:
    """The largest batch a numbers limit lets through in one window; None: no limit."""
    return max(1, math.floor(numbers_per_second * window_s)) if numbers_per_second else None


def _limit(per_second: float, window_s: float, guard_s: float) -> _Limit | None:
    if not per_second:
        return None
    whole = math.floor(per_second * window_s)
    if whole == 0:
        return _Limit(1, 1 / per_second + guard_s)
    return _Limit(whole, window_s + guard_s)


def _smoother(limit: _Limit | None) -> AsyncLimiter | None:
    """Spreads requests over the window. By itself it lets twice the rate through at first: the window log is exact."""
    if limit is None:
        return None
    count, window_s = limit.scheduled.limit, limit.scheduled.window_s
    burst = min(count, max(2, math.ceil(count * 0.05)))  # less loses to the granularity of timers
    return AsyncLimiter(burst, burst * window_s / count)
