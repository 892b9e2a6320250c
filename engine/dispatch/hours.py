"""When a campaign may send: not before a moment, within windows of the day, and not after it expires. Pure.

A window is a stretch of the local day on some weekdays; by default local means China, which has no summer time. The clock
is asked anew before each submission, so a clock that jumps, and midnight, need no case of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from engine.errors import PlanError
from engine.language import _
from engine.moments import CHINA

CHINA_NAMES = ("", "China", "Asia/Shanghai")
_DAY = timedelta(days=1)
_WEEK = range(-1, 9)  # yesterday's window may reach into today; a weekday comes again within eight days
_EVERY_DAY = frozenset(range(7))

_STRETCH = re.compile(r"([0-9]{1,2})[:：]([0-9]{2})\s*[-–~至]\s*([0-9]{1,2})[:：]([0-9]{2})")
_DAYS = re.compile(r"([^\s0-9,，-]+)(?:\s*[-–~至到]\s*([^\s0-9,，-]+))?\s+")
_WEEKDAYS = {
    name: day
    for day, names in enumerate(
        (
            "mon 周一 星期一",
            "tue 周二 星期二",
            "wed 周三 星期三",
            "thu 周四 星期四",
            "fri 周五 星期五",
            "sat 周六 星期六",
            "sun 周日 星期日 周天 星期天",
        )
    )
    for name in names.split()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From `begin` up to, not including, `end`, in minutes after the local midnight. An end before its begin is on the next day.

    `weekdays`: on which it begins, 0 is Monday.
    """

    begin: int
    end: int
    weekdays: frozenset[int] = _EVERY_DAY

    def __str__(self) -> str:
        days = "" if self.weekdays == _EVERY_DAY else ",".join(_NAMES[day] for day in sorted(self.weekdays)) + " "
        return f"{days}{_clock(self.begin)}-{_clock(self.end)}"


_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """The times of one campaign. `not_before` and `expires_at` are aware; no windows: at any time of the day."""

    not_before: datetime | None = None
    windows: tuple[Window, ...] = ()
    expires_at: datetime | None = None
    zone: tzinfo = CHINA

    def opens_at(self, now: datetime) -> datetime | None:
        """The earliest moment, `now` or later, at which a submission may start; None: it has expired before that."""
        at = max(now, self.not_before or now)
        if self.windows:
            at = min(max(at, begin) for begin, end in self._stretches(at) if end > at)
        return at if self.expires_at is None or at < self.expires_at else None

    def closes_at(self, now: datetime) -> datetime | None:
        """When a campaign that may send `now` must stop; None: never. Windows that touch are one."""
        ends = [] if self.expires_at is None else [self.expires_at]
        if self.windows:
            ends.append(self._end_of_open(now))
        return min(ends, default=None)

    def open_s(self, now: datetime, until: datetime) -> float:
        """For how many seconds between `now` and `until` it may send."""
        total, at = 0.0, now
        while (begin := self.opens_at(at)) is not None and begin < until:
            end = min(self.closes_at(begin) or until, until)
            total += (end - begin).total_seconds()
            at = end
        return total

    def ends_at(self, now: datetime, work_s: float) -> datetime | None:
        """When so many seconds of sending are done; None: it expires before that."""
        at, left = now, timedelta(seconds=work_s)
        while (begin := self.opens_at(at)) is not None:
            end = self.closes_at(begin)
            if end is None or end - begin >= left:
                return begin + left
            at, left = end, left - (end - begin)
        return None

    def _end_of_open(self, now: datetime) -> datetime:
        end = now
        for begin, its_end in sorted(self._stretches(now)):
            if begin <= end < its_end:
                end = its_end
        return end

    def _stretches(self, around: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The windows of the days around a moment, as moments in UTC."""
        today = around.astimezone(self.zone).date()
        for day in (today + n * _DAY for n in _WEEK):
            for window in self.windows:
                if day.weekday() in window.weekdays:
                    over = _DAY if window.end <= window.begin else timedelta(0)
                    yield self._moment(day, window.begin), self._moment(day + over, window.end)

    def _moment(self, day: date, minutes: int) -> datetime:
        over, rest = divmod(minutes, 24 * 60)
        local = datetime.combine(day + over * _DAY, time(rest // 60, rest % 60), tzinfo=self.zone)
        return local.astimezone(UTC)


def zone_of(name: str) -> tzinfo:
    """A time zone by its name. Raises PlanError."""
    if name in CHINA_NAMES:
        return CHINA
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise PlanError(_("there is no time zone {name!r}; write one like Asia/Shanghai").format(name=name)) from error


def read_windows(texts: Sequence[str]) -> tuple[Window, ...]:
    """`08:30-20:00`, several with commas, weekdays in front: `Mon-Fri 08:30-12:00,13:30-20:00`, `周六 10:00-16:00`. Raises PlanError."""
    return tuple(window for text in texts for window in _read_one(text))


def _read_one(text: str) -> Iterator[Window]:
    rest, weekdays = text.strip().replace("：", ":"), _EVERY_DAY
    if named := _DAYS.match(rest):
        weekdays, rest = _weekdays(named[1], named[2] or named[1], text), rest[named.end() :]
    for part in re.split(r"[,，]", rest):
        found = _STRETCH.fullmatch(part.strip())
        if found is None:
            raise _no_window(text)
        begin, end = (_minutes(found[at], found[at + 1], text) for at in (1, 3))
        if begin == end or begin == 24 * 60:
            raise _no_window(text)
        yield Window(begin=begin, end=end, weekdays=weekdays)


def _weekdays(first: str, last: str, text: str) -> frozenset[int]:
    try:
        begin, end = (_WEEKDAYS[name.lower()[:3]] for name in (first, last))
    except KeyError:
        raise _no_window(text) from None
    return frozenset((begin + n) % 7 for n in range((end - begin) % 7 + 1))


def _minutes(hours: str, minutes: str, text: str) -> int:
    found = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or found > 24 * 60:
        raise _no_window(text)
    return found


def _no_window(text: str) -> PlanError:
    return PlanError(
        _(
            "{text!r} is no window of the day; write 08:30-20:00, several with commas, weekdays in front: Mon-Fri "
            "08:30-20:00"
        ).format(text=text)
    )


_MOMENT = re.compile(r"(?:(\d{4})[-/](\d{1,2})[-/](\d{1,2})[ T])?(\d{1,2}):(\d{2})(?::(\d{2}))?(Z|[+-]\d{2}:?\d{2})?")


def read_moment(text: str, *, now: datetime, zone: tzinfo = CHINA) -> datetime:
    """`2026-11-23 09:00` or `2026/11/23 9:00`, or `09:00`: the next time it is nine. With `Z` or `+08:00` that zone, else `zone`. Raises PlanError."""
    found = _MOMENT.fullmatch(text.strip().replace("：", ":"))
    problem = PlanError(
        _("{text!r} is no time; write 2026-11-23 09:00, or 09:00 for the next time it is nine").format(text=text)
    )
    if found is None:
        raise problem
    year, month, day, hour, minute, second, offset = found.groups()
    here = datetime.strptime(offset.replace("Z", "+0000"), "%z").tzinfo if offset else zone
    local = now.astimezone(here)
    try:
        today = date(int(year), int(month), int(day)) if year else local.date()
        at = datetime.combine(today, time(int(hour), int(minute), int(second or 0)), tzinfo=here)
    except ValueError:
        raise problem from None
    if not year and at <= local:
        at = datetime.combine(today + _DAY, at.timetz())
    return at.astimezone(UTC)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
