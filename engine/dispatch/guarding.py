"""How far the network may shift requests against each other: the guard of the pace. Pure.

What answers take tells it: a request that is late on its way is late to be answered. Whatever else spreads answers, the work
at the gateway for one, widens the guard too; nobody can tell the two apart, and the pace is a law.
"""

from __future__ import annotations

from dataclasses import dataclass

DEVIATIONS = 4.0
"""The guard in mean deviations: times spread evenly over a span deviate by a quarter of it."""
UP, DOWN = 1 / 16, 1 / 64
"""How fast the mean deviation follows: soon when answers spread, slowly when it is calm again."""
_STEP = 0.1  # a guard that differs by less is left as it is
_TAKEN_FOR_ONE = 3.0  # an answer further out than so many spreads is an outlier, and counts as that far


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The guard, in seconds: what it is by default, and never more than `most_s`."""

    default_s: float
    most_s: float


class Guard:
    """Widens with the spread of answer times and narrows when they are calm."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._mean_s: float | None = None
        self._deviation_s = 0.0
        self.guard_s = bounds.default_s

    @property
    def is_wide(self) -> bool:
        """Whether it is wider than by default."""
        return self.guard_s > self._bounds.default_s

    def note(self, took_s: float) -> bool:
        """An answer took so long. Returns whether the guard has changed."""
        if self._mean_s is None:
            self._mean_s = took_s
            return False
        furthest = _TAKEN_FOR_ONE * max(DEVIATIONS * self._deviation_s, self._bounds.default_s)
        apart_s = max(-furthest, min(took_s - self._mean_s, furthest))
        self._mean_s += apart_s / 16
        off_s = abs(apart_s)
        self._deviation_s += (off_s - self._deviation_s) * (UP if off_s > self._deviation_s else DOWN)
        wanted = min(max(DEVIATIONS * self._deviation_s, self._bounds.default_s), self._bounds.most_s)
        near = abs(wanted - self.guard_s) < _STEP * self.guard_s
        if wanted == self.guard_s or (near and wanted not in (self._bounds.default_s, self._bounds.most_s)):
            return False
        self.guard_s = wanted
        return True
