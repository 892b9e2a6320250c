"""How much left in every window of time, against a limit. Pure: times are handed in, on one monotonic clock."""

from __future__ import annotations

import math
from collections import deque

NO_LIMIT = math.inf
NEVER = math.inf
ALIKE = 0.001
"""Without a limit, what leaves within such a share of a window is kept as one, at the time of the last. A limit may yet be set."""


class WindowLog:
    """What left in the last `window_s` seconds, against a limit for every such window.

    `pending` is what was let in and has not left yet. What is older than the window is kept for `keep_s`, in case the window
    grows.
    """

    def __init__(self, limit: float, window_s: float, *, keep_s: float = 0.0) -> None:
        self.limit, self.window_s = limit, window_s
        self.pending = 0
        self._keep_s = keep_s
        self._inside: deque[tuple[float, int]] = deque()
        self._outside: deque[tuple[float, int]] = deque()
        self._sum = 0
        self._alike_until = -math.inf  # what leaves before is counted as leaving together
        self._before: list[tuple[float, float]] = []  # (until when a change happened, the lower limit before it)

    @property
    def is_unlimited(self) -> bool:
        """Whether anything fits at any time."""
        return self.limit == NO_LIMIT and not self._before

    def free_at(self, now: float, amount: int, *, pending: int = 0) -> float:
        """The earliest time, `now` or later, at which `amount` more fit into every window that ends then.

        With `pending` more that will leave first, nobody knows when: NEVER where only their leaving makes room.
        """
        if self.is_unlimited:
            return now
        self._forget(now)
        limit, changes_at = self._limit_at(now)
        excess = self._sum + pending + amount - limit
        if excess <= 0:
            return now
        for left, weight in self._inside:
            excess -= weight
            if excess <= 0:
                return min(left + self.window_s, changes_at)
        # More than the limit by itself is refused before; here it waits.
        return min(NEVER if pending else now + self.window_s, changes_at)

    def add(self, at: float, amount: int) -> None:
        """Count what leaves at `at`."""
        self._sum += amount
        if at < self._alike_until and self._inside and self.limit == NO_LIMIT:
            self._inside[-1] = (at, self._inside[-1][1] + amount)
            return
        self._forget(at)
        self._inside.append((at, amount))
        self._alike_until = at + ALIKE * self.window_s

    def rate(self, now: float) -> float:
        """How much left a second, over the last window."""
        self._forget(now)
        return self._sum / self.window_s

    def change(self, limit: float, window_s: float, now: float) -> None:
        """From `now` on these hold. A window that began before the change keeps to the lower of the two limits."""
        self._forget(now)
        if self.limit < limit < NO_LIMIT:
            self._before.append((now, self.limit))
        self.limit, self.window_s = limit, window_s
        while self._outside and self._outside[-1][0] + window_s > now:
            entry = self._outside.pop()
            self._inside.appendleft(entry)
            self._sum += entry[1]

    def _limit_at(self, now: float) -> tuple[float, float]:
        """What holds for the window that ends now, and when that may become more."""
        if not self._before:
            return self.limit, NEVER
        self._before = [(at, limit) for at, limit in self._before if at + self.window_s > now]
        lowest = min((limit for _, limit in self._before), default=NO_LIMIT)
        if lowest >= self.limit:
            return self.limit, NEVER
        return lowest, min(at for at, _ in self._before) + self.window_s

    def _forget(self, now: float) -> None:
        while self._inside and self._inside[0][0] + self.window_s <= now:
            entry = self._inside.popleft()
            self._sum -= entry[1]
            self._outside.append(entry)
        while len(self._outside) > 1 and self._outside[0][0] + self._keep_s <= now:
            self._outside.popleft()  # never the last one: a window may grow to any length, and then one is its limit


class Bucket:
    """Spreads what leaves: `burst` at once, then `per_second`. It may be slowed at any time; it bounds no window by itself."""

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self.per_second, self.burst = per_second, burst
        self._level, self._at = 0.0, now

    def free_at(self, now: float) -> float:
        """The earliest time, `now` or later, at which one more may go."""
        self._leak(now)
        over = self._level + 1 - self.burst
        return now if over <= 1e-9 else now + over / self.per_second

    def add(self, now: float) -> None:
        """One goes."""
        self._leak(now)
        self._level += 1

    def change(self, per_second: float, burst: float, now: float) -> None:
        """From `now` on these hold."""
        self._leak(now)
        self.per_second, self.burst = per_second, burst

    def _leak(self, now: float) -> None:
        self._level = max(0.0, self._level - max(0.0, now - self._at) * self.per_second)
        self._at = now
