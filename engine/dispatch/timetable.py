"""Asks the wall clock whether a campaign may send now, at every submission. Cheap: mostly a comparison with the next change.

What is known is asked anew as soon as the clock leaves the stretch it was worked out for, in either direction.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

from engine.dispatch.hours import Hours
from engine.language import _
from engine.moments import zone_beside

_LAST = datetime.max.replace(tzinfo=UTC)


class Timetable:
    """The hours of one campaign on a wall clock (aware; it may jump)."""

    def __init__(self, hours: Hours, wall: Callable[[], datetime]) -> None:
        self.hours, self._wall = hours, wall
        self._since = self._until = _LAST
        self._is_open = False
        self.opens_at: datetime | None = None
        """As far as last looked: when it opens, or opened; None: it expires before that."""

    @property
    def is_open(self) -> bool:
        """Whether a submission may start now."""
        self._look()
        return self._is_open

    @property
    def has_expired(self) -> bool:
        """Whether nothing may start any more."""
        self._look()
        return self.opens_at is None

    @property
    def waits_s(self) -> float:
        """Seconds until it opens; 0 when it is open."""
        self._look()
        return 0.0 if self.opens_at is None else max(0.0, (self.opens_at - self._wall()).total_seconds())

    def words(self) -> str:
        """What a person is told while it is closed."""
        self._look()
        if self.opens_at is None:
            return _("its time is over")
        return _("waits until {moment}").format(moment=moment_words(self.opens_at, self._wall(), self.hours.zone))

    def closes_within(self, seconds: float) -> bool:
        """Whether it closes, or is closed, before so many seconds have passed."""
        self._look()
        return not self._is_open or self._until - self._wall() < timedelta(seconds=min(seconds, 10 * 365 * 86_400))

    def ends_words(self, work_s: float, *, gone: float) -> str:
        """When so many seconds of sending are done, in words; `gone` is the share that is done already."""
        return ends_words(self.hours, self._wall(), work_s, gone=gone)

    def _look(self) -> None:
        now = self._wall()
        if self._since <= now < self._until:
            return
        self._since, self.opens_at = now, self.hours.opens_at(now)
        self._is_open = self.opens_at is not None and self.opens_at <= now
        if self._is_open:
            self._until = self.hours.closes_at(now) or _LAST
        else:
            self._until = self.opens_at or _LAST


def moment_words(at: datetime, now: datetime, zone: tzinfo) -> str:
    """ "08:30 tomorrow", in the time of the zone, which is named where the machine has another one."""
    then, today = at.astimezone(zone), now.astimezone(zone).date()
    form = "%H:%M:%S" if then.second else "%H:%M"
    if then.date() == today:
        words = then.strftime(form)
    elif then.date() == today + timedelta(days=1):
        words = _("{time} tomorrow").format(time=then.strftime(form))
    else:
        words = then.strftime(_("%a %d %b {time}").format(time=form))
    return words + zone_beside(at, zone)


def ends_words(hours: Hours, now: datetime, work_s: float, *, gone: float = 0.0) -> str:
    """When so many seconds of sending are done, "ends 19:42"; or how much will have gone when it expires.

    `gone` is the share that is done already.
    """
    at = hours.ends_at(now, work_s)
    if at is not None:
        return _("ends {moment}").format(moment=moment_words(at, now, hours.zone))
    assert hours.expires_at is not None
    share = gone + (1 - gone) * hours.open_s(now, hours.expires_at) / work_s if work_s else gone
    by = moment_words(hours.expires_at, now, hours.zone)
    return _("at this pace {share:.0%} will have gone by {by}: raise the pace, split, or let the rest expire").format(
        share=share, by=by
    )
