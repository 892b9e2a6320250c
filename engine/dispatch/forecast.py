"""When a run ends, with a range: from what was done lately, and how evenly. Pure: times are handed in, in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean, stdev

from engine.language import _
from engine.moments import zone_beside, zone_told

FIRST_S = 0.25
MOST_STRETCHES = 64
LOOKED_AT = 16
"""Stretches of time of equal length that count: the later half of a run at most."""
FEWEST = 3  # stretches: before that nobody can tell
_SURE = 2.0  # standard errors on both sides


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """In so many seconds, and between when and when. `latest_s` is infinite where it may never end."""

    in_s: float
    earliest_s: float
    latest_s: float


class Forecast:
    """Counts what is done in stretches of time that grow with the run, so that it never holds more than a few numbers."""

    def __init__(self) -> None:
        self._begun_s: float | None = None
        self._stretch_s = FIRST_S
        self._done: list[int] = []

    def note(self, now_s: float, amount: int) -> None:
        """So much more is done."""
        if self._begun_s is None:
            self._begun_s = now_s
        self._reach(now_s)
        self._done[-1] += amount

    def ends(self, now_s: float, left: int) -> Ends | None:
        """When what is left will be done; None: too early to tell."""
        if self._begun_s is None:
            return None
        whole = int(max(0.0, now_s - self._begun_s) / self._stretch_s)  # the last one has not come to its end
        done = list(self._done)  # as it is: another thread may look, while the loop counts on
        lately = (done + [0] * (whole - len(done)))[:whole][-LOOKED_AT:]
        if len(lately) < FEWEST or not any(lately):
            return None
        rate = fmean(lately) / self._stretch_s
        error = stdev(lately) / self._stretch_s / math.sqrt(len(lately))
        # Few stretches say little of how much they differ.
        off = _SURE * error * (1 + 4 / len(lately)) + rate / (2 * len(lately))
        slowest = rate - off
        return Ends(
            in_s=left / rate,
            earliest_s=left / (rate + off),
            latest_s=left / slowest if slowest > 0 else math.inf,
        )

    def _reach(self, now_s: float) -> None:
        """Go on to the stretch of this moment."""
        assert self._begun_s is not None
        while (place := int(max(0.0, now_s - self._begun_s) / self._stretch_s)) >= MOST_STRETCHES:
            done = self._done + [0] * (len(self._done) % 2)
            self._done = [sum(done[at : at + 2]) for at in range(0, len(done), 2)]
            self._stretch_s *= 2
        if place >= len(self._done):
            self._done += [0] * (place + 1 - len(self._done))


def in_words(ends: Ends, clock_s: float) -> str:
    """ "ends 19:42 (19:38–19:55)", in the zone that people read times in; `clock_s` is the time now, in seconds since 1970."""

    now = datetime.fromtimestamp(clock_s, zone_told())

    def at(seconds: float) -> str:
        if seconds > 20 * 86_400:
            return _("later")
        then = datetime.fromtimestamp(clock_s + seconds, zone_told())
        form = "%H:%M:%S" if ends.in_s < 600 else "%H:%M"
        return then.strftime(form if then.date() == now.date() else _("%d %b {time}").format(time=form))

    middle, early, late = at(ends.in_s), at(ends.earliest_s), at(ends.latest_s)
    words = (
        _("ends {middle}").format(middle=middle)
        if early == late
        else _("ends {middle} ({early}–{late})").format(middle=middle, early=early, late=late)
    )
    return words + zone_beside(now)
