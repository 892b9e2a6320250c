"""How much of the operator's limits the gateway lets through now. Pure: times are handed in, on one monotonic clock.

Down at once and by a share, up again little by little (AIMD), and never above what the operator allows. A gateway that says
"too often" brings pace and concurrency down; one that only answers more slowly brings concurrency down, and the pace with
it. Requests that left before the last cut tell nothing new.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

CUT = 0.7
"""What is left of the pace, and of the requests in flight, after "too often"."""
BACK_IN_S = 20.0
"""How long it takes to come back by what was there before the cut."""
SLOWEST = 0.1  # requests a second
_LEAST_SHARE = 0.05  # of the operator's pace: a cut begins there even when little was sent
_LIFTED_AT = 4.0  # without a limit of the operator's: the cut is over at so many times the pace before it
_LONGEST_STEP_S = 1.0  # an answer after a long silence does not undo a cut at once

TOLERATED = 2.0
"""Answers may take so many times the shortest, and `NOISE_S` more, before they count as slow."""
NOISE_S = 0.050
SHORTEST_KEPT_S = 600.0
"""How long the shortest answer counts. Under a steady crowd nothing short comes, and forgetting soon would believe the crowd."""
_ENOUGH = 8  # answers to requests that left after a cut, before it is judged
_HELPED = 0.8  # a cut that leaves more than this of the time taught that the gateway is just slower


@dataclass(frozen=True, slots=True, kw_only=True)
class Most:
    """What the operator allows. `per_second` requests, 0: no limit."""

    per_second: float
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often the gateway may say "too often" in a row, and how long to wait each time where it does not say itself."""

    rounds: int
    wait_s: float
    wait_max_s: float


class Latency:
    """Whether answers take longer than this gateway needs: a quick mean against the shortest of the last minutes."""

    def __init__(self) -> None:
        self.mean_s: float | None = None
        self._count = 0
        self._shortest = [math.inf, math.inf]  # of this stretch of time, and of the one before
        self._until = -math.inf

    @property
    def shortest_s(self) -> float:
        """What an answer takes when nothing is in its way."""
        return min(self._shortest)

    @property
    def bearable_s(self) -> float:
        """Up to here nothing is done."""
        return TOLERATED * self.shortest_s + NOISE_S

    @property
    def is_judged(self) -> bool:
        """Whether there were enough answers to tell."""
        return self._count >= _ENOUGH

    @property
    def is_slow(self) -> bool:
        """Whether enough answers took longer than bearable."""
        if self._count < _ENOUGH or self.mean_s is None or self.mean_s <= NOISE_S:
            return False
        return self.mean_s > self.bearable_s

    def note(self, now_s: float, took_s: float) -> None:
        """An answer took so long."""
        if now_s >= self._until:
            fresh = self._until == -math.inf
            self._shortest = [math.inf, math.inf if fresh else self._shortest[0]]
            self._until = now_s + SHORTEST_KEPT_S / 2
        self._shortest[0] = min(self._shortest[0], took_s)
        self._count += 1
        self.mean_s = took_s if self.mean_s is None else self.mean_s + (took_s - self.mean_s) / 8

    def begin_again(self) -> None:
        """Forget the mean: what comes now is after a cut."""
        self.mean_s, self._count = None, 0

    def accept(self, took_s: float) -> None:
        """That is what this gateway needs now, however little is asked of it."""
        self._shortest = [took_s, took_s]


class Throttle:
    """What the account may use at this moment of what the operator allows.

    `per_second`: requests a second, None: as the operator says. `in_flight`: requests at once. `held_until_s`: nobody goes
    before. `is_hopeless`: the gateway has said "too often" so many times in a row that sending had better pause.
    """

    def __init__(self, most: Most, patience: Patience) -> None:
        self._most, self._patience = most, patience
        self.per_second: float | None = None
        self.held_until_s = -math.inf
        self.rounds = 0
        self.latency = Latency()
        self._slots = float(most.in_flight)
        self._step = self._peak = 0.0  # requests a second: a second, and before the last cut
        self._cut_s = self._slowed_s = self._judged_s = self._last_s = -math.inf
        self._suspects = False  # answers were slow once; whether they are is seen from requests that leave now
        self._before_s: float | None = None  # what answers took before the last cut for slowness

    @property
    def in_flight(self) -> int:
        """How many requests may wait for their answer at once. Never fewer than one."""
        return max(1, int(self._slots))

    @property
    def is_hopeless(self) -> bool:
        """Whether the gateway said "too often" as many times in a row as patience allows."""
        return self.rounds >= self._patience.rounds

    @property
    def is_slowed(self) -> bool:
        """Whether fewer are in flight than the operator allows because answers became slow."""
        return self.in_flight < self._most.in_flight and self._slowed_s > self._cut_s

    def allow(self, most: Most) -> None:
        """The operator allows something else from now on."""
        if most.in_flight > self._most.in_flight and self.in_flight == self._most.in_flight:
            self._slots = float(most.in_flight)
        self._most = most
        self._slots = min(self._slots, float(most.in_flight))
        self._lift()

    def forgive(self) -> None:
        """A run begins: what the gateway said before does not count against it."""
        self.rounds = 0

    def throttled(self, now_s: float, *, left_s: float, per_second: float, retry_after_s: float | None) -> None:
        """The gateway said "too often" to a request that left then, when so many a second were leaving."""
        if left_s > self._cut_s:
            self._cut_s = now_s
            self.rounds += 1
            self._cut(per_second)
            if self.rounds > 1:  # going slower was not enough
                growing_s = self._patience.wait_s * 2 ** min(self.rounds - 2, 30)
                self._hold(now_s + min(growing_s, self._patience.wait_max_s))
        if retry_after_s is not None:
            self._hold(now_s + retry_after_s)

    def answered(self, now_s: float, *, left_s: float, took_s: float) -> None:
        """The gateway's application answered a request that left then, after so long."""
        self.rounds = 0
        if left_s > self._judged_s:
            self.latency.note(now_s, took_s)
        if self.latency.is_slow:
            self._slow_down(now_s)
        else:
            if self.latency.is_judged:
                self._before_s, self._suspects = None, False
            self._come_back(min(max(now_s - self._last_s, 0.0), _LONGEST_STEP_S))
        self._last_s = now_s

    def _cut(self, per_second: float) -> None:
        was = self._most.per_second or math.inf if self.per_second is None else self.per_second
        self._peak = min(was, max(per_second, _LEAST_SHARE * self._most.per_second, SLOWEST))
        self.per_second = max(CUT * self._peak, min(SLOWEST, was))
        self._step = max(self._peak, _LEAST_SHARE * self._most.per_second) / BACK_IN_S
        self._slots = max(1.0, CUT * self._slots)

    def _hold(self, until_s: float) -> None:
        self.held_until_s = max(self.held_until_s, until_s)

    def _come_back(self, seconds: float) -> None:
        if self._slots < self._most.in_flight:
            self._slots = min(self._slots + seconds * max(self._most.in_flight / BACK_IN_S, 0.5), self._most.in_flight)
        if self.per_second is not None:
            self.per_second += seconds * self._step
            self._lift()

    def _lift(self) -> None:
        """End a cut that the operator's own limit, or long calm, has overtaken."""
        over = self._most.per_second or _LIFTED_AT * self._peak
        if self.per_second is not None and self.per_second >= over:
            self.per_second = None

    def _slow_down(self, now_s: float) -> None:
        mean_s = self.latency.mean_s
        assert mean_s is not None
        if not self._suspects:  # a mean on its way up says neither how slow it is nor whether a cut would help
            self._suspects = True
        elif self._before_s is not None and mean_s > _HELPED * self._before_s:
            self.latency.accept(mean_s)
            self._before_s = None
        else:
            self._before_s = mean_s
            # Never a small cut: whether it helped could not be told.
            self._slots = max(1.0, self.in_flight * min(CUT, max(0.5, self.latency.bearable_s / mean_s)))
            self._slowed_s = now_s
        self._judged_s = now_s
        self.latency.begin_again()
