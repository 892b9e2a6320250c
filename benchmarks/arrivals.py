"""What the times at which requests arrived say about the rate. Times are ordered, in seconds of one clock."""

from __future__ import annotations

from collections.abc import Sequence


def middle_rate(times: Sequence[float], wave: int = 1) -> float:
    """Requests a second over the middle half, so that neither start nor end counts. `wave`: see `_rate`."""
    return _rate(times, len(times) // 4, len(times) * 3 // 4, wave)


def sustained_rate(times: Sequence[float], after_s: float = 1.0, wave: int = 1) -> float:
    """Requests a second from the first one that came `after_s` after the very first, to the last. `wave`: see `_rate`."""
    first = next((at for at, time in enumerate(times) if time >= times[0] + after_s), len(times) - 1)
    return _rate(times, first, len(times) - 1, wave)


def _rate(times: Sequence[float], first: int, last: int, wave: int) -> float:
    """Between two requests. Where they come in waves of so many, whole waves are counted: part of one would mislead.

    Raises ValueError when there are too few.
    """
    last -= (last - first) % wave if last - first >= wave else 0
    if last <= first or times[last] <= times[first]:
        raise ValueError("too few requests for a rate")
    return (last - first) / (times[last] - times[first])


def worst_window(times: Sequence[float], window_s: float = 1.0) -> int:
    """The most requests in any window of this length, its end not included."""
    most = begin = 0
    for at, time in enumerate(times):
        while time - times[begin] >= window_s:
            begin += 1
        most = max(most, at - begin + 1)
    return most
