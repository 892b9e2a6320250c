"""Pace: in every window, measured at the gateway under network jitter up to the guard, requests and numbers stay within
their limits.

Two steps, because the intent is written between them. `admit` waits until a request may soon leave, before its intent is
durable: at one request a second, sixteen waiting workers must not be sixteen doubts when the process dies. `gate` is exact
and is the last wait before the write. Requests of an earlier process still count: they are handed in as `earlier`.

One log a limit serves both steps. It knows what left, and how many were admitted and have not left yet; so whatever stalls
between the steps, the next one is admitted when those before it are gone.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable

from aiolimiter import AsyncLimiter

from engine.dispatch.line import Line
from engine.dispatch.windows import NO_LIMIT, Bucket, WindowLog

GUARD_S = 0.020
LONGEST_LEAD_S = 0.050
"""An intent is written at most this long before its request may leave."""
AT_THE_GATE_S = 1.0
"""Who would wait longer at the gate goes back: the pace was lowered, or the gateway asked everybody to wait."""
SMOOTHED = (2.0, 200.0)
"""Requests a second that aiolimiter spreads. Below, the window log spreads by itself; above, a task for each costs too much."""
_BURST = 0.05  # of the window: less loses to the granularity of timers
_LEAST_BURST = 2.0


class Turn:
    """One request on its way through both steps. Whoever has one closes it, whether it left or not."""

    __slots__ = ("_pace", "admitted", "admitted_s", "has_left", "numbers", "unless")

    def __init__(self, pace: Pace, numbers: int, unless: asyncio.Event | None) -> None:
        self._pace, self.admitted, self.numbers, self.unless = pace, numbers, numbers, unless
        self.admitted_s = 0.0
        self.has_left = False

    @property
    def goes_home(self) -> bool:
        """Whether it waits no longer."""
        return self.unless is not None and self.unless.is_set()

    async def gate(self, numbers: int) -> float | None:
        """Wait until the request may leave now, and count it. Returns how many seconds that took; None: it must not leave."""
        self.numbers = numbers
        return await self._pace.gate(self)

    def close(self) -> None:
        """Give back what was admitted and did not leave."""
        if not self.has_left:
            self.has_left = True
            self._pace.give_back(self)


class Pace:
    """The pace of one account, for all its campaigns. Rates in units per second; 0 means no limit. First come, first served.

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
        self._clock, self.window_s, self.guard_s = clock, window_s, guard_s
        self._rates = (requests_per_second, numbers_per_second)
        keep_s = 2 * window_s + guard_s  # a guard takes half a window at most
        self._requests, self._numbers = (
            WindowLog(limit, base_s + guard_s, keep_s=keep_s)
            for limit, base_s in (_window(rate, window_s) for rate in self._rates)
        )
        self._asked_s = -math.inf  # nobody goes before: the gateway asked everybody to wait
        self._slowed_to: float | None = None
        self._lead_s = 0.0
        self._bucket: Bucket | None = None
        self._smoother: AsyncLimiter | None = None
        self._smoothing = asyncio.Lock()
        self._admission = Line[Turn](clock, free_at=self._may_be_admitted, go=self._admit, undo=Turn.close)
        self._gate = Line[Turn](clock, free_at=self._may_leave, go=self._leave, patience_s=AT_THE_GATE_S)
        now = clock()
        for age_s, numbers in sorted(earlier, reverse=True):
            at = now - max(0.0, age_s)  # a wall clock that was set back makes ages negative
            self._requests.add(at, 1)
            self._numbers.add(at, numbers)
        self.left = 0  # requests, since this pace exists
        self.waiting = 0  # to be admitted
        self.waits_for_numbers = False  # the limit of numbers binds harder than that of requests
        self._smooth(now)

    # -- the two steps -------------------------------------------------------------------------------------------------

    async def admit(self, numbers: int, *, unless: asyncio.Event | None = None) -> Turn | None:
        """Wait until a request of so many numbers may leave within moments. None: `unless` was set first."""
        turn, now = Turn(self, numbers, unless), self._clock()
        if self._lets_go(turn, now) and not (self._admission.waiting or self._smoothing.locked()):
            self._admit(now, turn)
            return turn
        self.waiting += 1
        try:
            return turn if await self._wait_for(turn) else None
        finally:
            self.waiting -= 1

    def _lets_go(self, turn: Turn, now: float) -> bool:
        """Whether it has to wait for nothing but those before."""
        return (
            not turn.goes_home
            and self._requests.is_unlimited
            and self._numbers.is_unlimited
            and self._slowed_to is None
            and self._asked_s <= now
        )

    async def _wait_for(self, turn: Turn) -> bool:
        if self._smoother is None and not self._smoothing.locked():
            return await self._admission.stand(turn) is not None
        async with self._smoothing:  # aiolimiter serves the smallest first; under one lock the queue is fair
            if turn.goes_home:
                return False
            if self._smoother is not None:
                await self._smoother.acquire()
            return await self._admission.stand(turn) is not None

    async def gate(self, turn: Turn) -> float | None:
        """The second step; see `Turn.gate`."""
        asked_s = self._clock()
        if self._lets_go(turn, asked_s) and not self._gate.waiting:
            self._leave(asked_s, turn)
            return 0.0
        took_s = min(asked_s - turn.admitted_s, LONGEST_LEAD_S)
        self._lead_s += (took_s - self._lead_s) / 16
        left_s = await self._gate.stand(turn)
        return None if left_s is None else left_s - asked_s

    def give_back(self, turn: Turn) -> None:
        """What was admitted does not leave."""
        self._no_longer_pending(turn)
        self._admission.sweep()

    def let_go(self) -> None:
        """Send home everybody whose `unless` is set."""
        self._admission.let_go()
        self._gate.let_go()

    # -- what may change -----------------------------------------------------------------------------------------------

    def change(self, *, requests_per_second: float, numbers_per_second: float) -> None:
        """From the next request on these hold. A window that began before keeps to the lower of both."""
        self._rates = (requests_per_second, numbers_per_second)
        self._apply()

    def widen(self, guard_s: float) -> None:
        """From the next request on this guard holds; wider or narrower."""
        self.guard_s = guard_s
        self._apply()

    def slow_to(self, per_second: float | None) -> None:
        """Go no faster than so many requests a second, within the limits; None: as they allow."""
        if per_second != self._slowed_to:
            self._slowed_to = per_second
            self._smooth(self._clock())

    def wait_until(self, at_s: float) -> None:
        """Let nobody leave before, on this pace's clock."""
        if at_s != self._asked_s:
            self._asked_s = at_s
            self._admission.sweep()
            self._gate.sweep()

    def _apply(self) -> None:
        now = self._clock()
        for log, rate in zip((self._requests, self._numbers), self._rates, strict=True):
            limit, base_s = _window(rate, self.window_s)
            log.change(limit, base_s + self.guard_s, now)
        self._smooth(now)
        self._admission.sweep()
        self._gate.sweep()

    def _smooth(self, now: float) -> None:
        """Spread requests over the window. Neither part bounds a window: aiolimiter lets twice the rate through at first."""
        limit, window_s = self._requests.limit, self._requests.window_s
        allowed = NO_LIMIT if limit == 1 else limit / window_s  # one a window is spread as it is
        per_second = min(allowed, NO_LIMIT if self._slowed_to is None else self._slowed_to)
        if per_second == NO_LIMIT:
            self._bucket = self._smoother = None
            return
        burst = min(limit, max(_LEAST_BURST, math.ceil(per_second * self.window_s * _BURST)))
        if self._slowed_to is None and SMOOTHED[0] <= per_second * window_s / self.window_s <= SMOOTHED[1]:
            self._smoother = AsyncLimiter(burst, burst / per_second)  # the rate of one cannot change
            self._bucket = None
            return
        self._smoother = None
        if self._bucket is None:
            self._bucket = Bucket(per_second, burst, now)
        self._bucket.change(per_second, burst, now)

    # -- looks ---------------------------------------------------------------------------------------------------------

    @property
    def unlimited(self) -> bool:
        """Whether nothing holds requests back."""
        return self._requests.limit == self._numbers.limit == NO_LIMIT and self._slowed_to is None

    @property
    def rate(self) -> float:
        """Requests a second, over the last window."""
        return self._requests.rate(self._clock())

    def takes_s(self, requests: int, numbers: int) -> float:
        """How long so many requests with so many numbers in all take at the full pace, in seconds."""
        found = max(
            amount * log.window_s / log.limit for log, amount in ((self._requests, requests), (self._numbers, numbers))
        )
        return found if self._slowed_to is None else max(found, requests / self._slowed_to)

    # -- in line -------------------------------------------------------------------------------------------------------

    def _may_be_admitted(self, now: float, turn: Turn) -> float:
        requests, numbers = self._requests, self._numbers
        requests_at = requests.free_at(now, 1, pending=requests.pending)
        numbers_at = numbers.free_at(now, turn.numbers, pending=numbers.pending)
        self.waits_for_numbers = numbers_at > requests_at
        at = max(requests_at, numbers_at)
        if at > now:
            at = max(now, at - self._lead_s)
        if self._bucket is not None:
            at = max(at, self._bucket.free_at(now))
        return max(at, self._asked_s)

    def _admit(self, now: float, turn: Turn) -> None:
        turn.admitted_s = now
        self._requests.pending += 1
        self._numbers.pending += turn.admitted
        if self._bucket is not None:
            self._bucket.add(now)

    def _may_leave(self, now: float, turn: Turn) -> float:
        return max(self._requests.free_at(now, 1), self._numbers.free_at(now, turn.numbers), self._asked_s)

    def _leave(self, now: float, turn: Turn) -> None:
        turn.has_left = True
        self._requests.add(now, 1)
        self._numbers.add(now, turn.numbers)
        self.left += 1
        self._no_longer_pending(turn)
        if self._admission.is_stuck:  # everybody else waits for what left before, and that has not changed
            self._admission.sweep()

    def _no_longer_pending(self, turn: Turn) -> None:
        self._requests.pending -= 1
        self._numbers.pending -= turn.admitted


def numbers_that_fit(numbers_per_second: float, window_s: float) -> int | None:
    """The largest batch a numbers limit lets through in one window; None: no limit."""
    return int(_window(numbers_per_second, window_s)[0]) if numbers_per_second else None


def _window(per_second: float, window_s: float) -> tuple[float, float]:
    """The limit of a window and how long that is, in seconds."""
    if not per_second:
        return NO_LIMIT, window_s
    whole = math.floor(per_second * window_s + 1e-9)
    return (1, 1 / per_second) if whole == 0 else (whole, window_s)
