"""An account's lane to its gateway: the pace, the slots and what the gateway lets through, shared by all its campaigns.

Decided in pacing.py, slots.py, guarding.py, adaptive.py and losses.py; here they meet.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from engine.dispatch.adaptive import Most, Patience, Throttle
from engine.dispatch.guarding import Bounds, Guard
from engine.dispatch.losses import Losses, split_sizes
from engine.dispatch.pacing import Pace, Turn
from engine.dispatch.retry import RetryPolicy
from engine.dispatch.slots import Slots
from engine.language import _
from engine.model import Outcome, OutcomeKind, PauseReason

ENOUGH_IN_FLIGHT = 1.2
"""To use the whole pace, in_flight must be so many times pace × answer time."""
LONGEST_READY_S = 1.0
"""Who has an intent and gets no slot for so long goes back: the gateway has stopped answering."""
_WAITS_S = 0.001  # who waits longer is held back
_SIZES_KEPT = 64
_SPARE = 1.5  # answers come unevenly, and groups of intents do too
_OBEYED_EVERY_S = 0.005  # or when the throttle says something else; how many may get ready matters no sooner


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the operator allows the account. Rates of 0 are no limit."""

    requests_per_second: float
    numbers_per_second: float
    in_flight: int


class HeldBackBy(StrEnum):
    """What sending waits for most at this moment."""

    NOTHING = "nothing"  # as fast as this machine goes
    REQUESTS = "requests"  # the operator's requests a second
    NUMBERS = "numbers"  # the operator's numbers a second
    IN_FLIGHT = "in_flight"  # the operator's requests at once
    TOO_OFTEN = "too_often"  # the gateway asked for less, or to wait
    SLOW_ANSWERS = "slow_answers"  # the gateway answers more slowly than it can


class Passage:
    """One request on its way through the lane. Whoever has one closes it when the answer has come, or none will."""

    __slots__ = ("_has_slot", "_lane", "_turn", "_unless", "left_s")

    def __init__(self, lane: Lane, turn: Turn, unless: asyncio.Event) -> None:
        self._lane, self._turn, self._unless = lane, turn, unless
        self._has_slot = False
        self.left_s = 0.0  # when it left, on the lane's clock

    async def leave(self, numbers: int) -> float | None:
        """Wait until the request may leave now, and count it. Returns how many seconds that took; None: it must not leave."""
        lane, turn = self._lane, self._turn
        asked_s = lane.now()
        lane.note_ready(asked_s - turn.admitted_s)
        self._has_slot = lane.slots.take_at_once() or await lane.take_slot(self._unless)
        if not self._has_slot:
            return None
        if await turn.gate(numbers) is None:
            return None
        self.left_s = lane.now()
        return self.left_s - asked_s

    def close(self) -> None:
        """Give back everything."""
        self._turn.close()
        if self._has_slot:
            self._lane.slots.give()
        self._lane.ready.give()


class Lane:
    """What all campaigns of one account share on the way to its gateway. Times on `clock`, which is monotonic."""

    def __init__(
        self,
        limits: Limits,
        *,
        window_s: float,
        clock: Callable[[], float],
        retry: RetryPolicy,
        earlier: Iterable[tuple[float, int]] = (),
        pace: Pace | None = None,
    ) -> None:
        """`earlier` are (age in seconds, numbers) of requests that left before; `pace` one that is already there."""
        self.limits, self._clock = limits, clock
        self.pace = pace or Pace(
            requests_per_second=limits.requests_per_second,
            numbers_per_second=limits.numbers_per_second,
            window_s=window_s,
            clock=clock,
            earlier=earlier,
        )
        self.slots = Slots(limits.in_flight, patience_s=LONGEST_READY_S)  # under way
        self.ready = Slots(limits.in_flight)  # under way, or about to be
        self.throttle = Throttle(_most(limits), _patience(retry))
        self.losses = Losses()
        self._guard = Guard(Bounds(default_s=self.pace.guard_s, most_s=max(self.pace.guard_s, window_s / 2)))
        self._obeyed: tuple[float | None, float, int] | None = None  # what the throttle said when it was last obeyed
        self._obeyed_s = -math.inf
        self._sizes: deque[int] = deque(maxlen=_SIZES_KEPT)
        self._waited_s = 0.0  # lately, for the pace
        self._took_s: float | None = None  # lately, for an answer
        self._ready_s = 0.0  # lately, from the pace to the gate

    def now(self) -> float:
        """The time on this lane's clock, in seconds."""
        return self._clock()

    # -- on the way ----------------------------------------------------------------------------------------------------

    async def enter(self, numbers: int, *, unless: asyncio.Event) -> Passage | None:
        """Wait until a request of so many numbers may leave within moments. None: `unless` was set first."""
        if unless.is_set() or not (self.ready.take_at_once() or await self.ready.take(unless)):
            return None
        turn = None
        try:
            asked_s = self._clock()
            turn = await self.pace.admit(numbers, unless=unless)
            self._waited_s += (self._clock() - asked_s - self._waited_s) / 8
        finally:
            if turn is None:
                self.ready.give()
        return None if turn is None else Passage(self, turn, unless)

    def note_ready(self, seconds: float) -> None:
        """It took so long from the pace until a request's intent was written."""
        self._ready_s += (seconds - self._ready_s) / 16

    async def take_slot(self, unless: asyncio.Event) -> bool:
        """A slot for a request whose intent is written. False: `unless` was set, or none comes free."""
        has_one = await self.slots.take(unless)
        if not has_one:
            self.ready.change(self.slots.limit)  # until the next answer
        return has_one

    def note(self, outcome: Outcome, *, size: int, left_s: float) -> None:
        """A request of `size` numbers that left then has just come to this outcome."""
        now_s = self._clock()
        self._sizes.append(size)
        self.losses.note(outcome)
        if outcome.kind is OutcomeKind.NOT_TAKEN and outcome.pause is PauseReason.THROTTLED:
            self.throttle.throttled(
                now_s, left_s=left_s, per_second=self.pace.rate, retry_after_s=outcome.retry_after_s
            )
        elif outcome.kind in (OutcomeKind.ACCEPTED, OutcomeKind.REFUSED):
            took_s = now_s - left_s
            self._took_s = took_s if self._took_s is None else self._took_s + (took_s - self._took_s) / 16
            self.throttle.answered(now_s, left_s=left_s, took_s=took_s)
            if not self.pace.unlimited and self._guard.note(took_s):
                self.pace.widen(self._guard.guard_s)
        throttle = self.throttle
        changed = (throttle.per_second, throttle.held_until_s, throttle.in_flight) != self._obeyed
        if changed or now_s - self._obeyed_s >= _OBEYED_EVERY_S:
            self._obeyed_s = now_s
            self._obey()

    def _obey(self) -> None:
        throttle = self.throttle
        self._obeyed = (throttle.per_second, throttle.held_until_s, throttle.in_flight)
        self.pace.slow_to(throttle.per_second)
        self.pace.wait_until(throttle.held_until_s)
        self.slots.change(throttle.in_flight)
        self.ready.change(self.slots.limit + self._ahead)

    @property
    def _ahead(self) -> int:
        """How many may get ready while all slots are taken: some more than come free until their intents are on the disk.

        No more, and never more than there are slots: what is ready and has not left is in doubt when the process is killed.
        """
        if not self._took_s:
            return 0
        meanwhile = _SPARE * self.slots.limit * self._ready_s / self._took_s
        return 0 if meanwhile < 1 else min(self.slots.limit, math.ceil(meanwhile))

    def parts_of(self, size: int, avoiding: Callable[[], Iterable[int]]) -> tuple[int, ...]:
        """The sizes in which a batch of `size` numbers had better go now: itself, or parts while answers get lost."""
        parts = self.losses.parts(size)
        return (size,) if parts == 1 else split_sizes(size, parts, avoiding={*self._sizes, *avoiding()})

    def let_go(self) -> None:
        """Send home everybody whose campaign has stopped."""
        self.ready.let_go()
        self.pace.let_go()
        self.slots.let_go()

    # -- what the operator says ----------------------------------------------------------------------------------------

    def change(self, limits: Limits) -> None:
        """From the next request on these hold."""
        self.limits = limits
        self.throttle.allow(_most(limits))
        self.pace.change(requests_per_second=limits.requests_per_second, numbers_per_second=limits.numbers_per_second)
        self._obey()

    def begin(self) -> None:
        """A run begins."""
        self.throttle.forgive()

    # -- what the operator sees ----------------------------------------------------------------------------------------

    @property
    def held_back_by(self) -> HeldBackBy:
        """What sending waits for most at this moment."""
        if self._clock() < self.throttle.held_until_s:
            return HeldBackBy.TOO_OFTEN
        if self.pace.waiting and self._waited_s > _WAITS_S:
            if self.throttle.per_second is not None:
                return HeldBackBy.TOO_OFTEN
            return HeldBackBy.NUMBERS if self.pace.waits_for_numbers else HeldBackBy.REQUESTS
        if self.ready.waiting:
            if self.slots.limit == self.limits.in_flight:
                return HeldBackBy.IN_FLIGHT
            return HeldBackBy.SLOW_ANSWERS if self.throttle.is_slowed else HeldBackBy.TOO_OFTEN
        return HeldBackBy.NOTHING

    def words(self) -> str:
        """What holds sending back now, for people; "" where nothing does."""
        match self.held_back_by:
            case HeldBackBy.REQUESTS:
                return _("your pace ({rate:,g} requests a second{guard})").format(
                    rate=self.limits.requests_per_second, guard=self._guard_words()
                )
            case HeldBackBy.NUMBERS:
                return _("your pace ({rate:,g} numbers a second{guard})").format(
                    rate=self.limits.numbers_per_second, guard=self._guard_words()
                )
            case HeldBackBy.IN_FLIGHT:
                return _("in_flight ({in_flight}{enough})").format(
                    in_flight=self.limits.in_flight, enough=self._enough_words()
                )
            case HeldBackBy.TOO_OFTEN:
                return _("the gateway ({asked})").format(asked=self._asked_words())
            case HeldBackBy.SLOW_ANSWERS:
                answers = _("answers take {took} instead of {shortest}").format(
                    took=_time(self._took_s), shortest=_time(self.throttle.latency.shortest_s)
                )
                return _("the gateway ({answers}; {slots} of {in_flight} in flight)").format(
                    answers=answers, slots=self.slots.limit, in_flight=self.limits.in_flight
                )
            case HeldBackBy.NOTHING:
                return ""

    def _guard_words(self) -> str:
        if not self._guard.is_wide:
            return ""
        costs = self.pace.guard_s / (self.pace.window_s + self.pace.guard_s)
        return _("; answers spread, so the guard is {guard} and costs {costs:.0%}").format(
            guard=_time(self.pace.guard_s), costs=costs
        )

    def _enough_words(self) -> str:
        if not self._took_s or not self.limits.requests_per_second:
            return ""
        enough = math.ceil(ENOUGH_IN_FLIGHT * self.limits.requests_per_second * self._took_s)
        if enough <= self.limits.in_flight:
            return ""
        return _("; {enough:,} would use the whole pace at answers of {took}").format(
            enough=enough, took=_time(self._took_s)
        )

    def _asked_words(self) -> str:
        left_s = self.throttle.held_until_s - self._clock()
        if left_s > 0:
            return _("it said too often; waiting {left}").format(left=_time(left_s))
        rate = self.throttle.per_second
        now = "" if rate is None else _("; {rate:,.3g} requests a second now, rising").format(rate=rate)
        return _("it said too often{now}").format(now=now)


def changed(limits: Limits, words: Iterable[str]) -> Limits:
    """The limits with some replaced: "in_flight=32". Raises ValueError."""
    known: dict[str, Callable[[str], float]] = {
        "requests_per_second": float,
        "numbers_per_second": float,
        "in_flight": int,
    }
    given = dict(word.split("=", 1) for word in words)
    return replace(limits, **{name: known[name](value) for name, value in given.items()})  # type: ignore[arg-type]  # as annotated


def _most(limits: Limits) -> Most:
    return Most(per_second=limits.requests_per_second, in_flight=limits.in_flight)


def _patience(retry: RetryPolicy) -> Patience:
    return Patience(rounds=retry.attempts, wait_s=retry.wait_s, wait_max_s=retry.wait_max_s)


def _time(seconds: float | None) -> str:
    if seconds is None or not math.isfinite(seconds):
        return "?"
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.0f} s"
