"""Asking the clock: it may jump to any side of any border, and what was worked out before must not count any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.dispatch.hours import Hours, read_windows
from engine.dispatch.timetable import Timetable, ends_words, moment_words
from engine.moments import CHINA

DAY = Hours(windows=read_windows(["Mon-Fri 08:30-12:00,13:30-20:00"]))
MONDAY = datetime(2026, 11, 23, tzinfo=CHINA).astimezone(UTC)


class Wall:
    """A clock that shows what it is told."""

    def __init__(self, at: datetime) -> None:
        self.at, self.asked = at, 0

    def __call__(self) -> datetime:
        self.asked += 1
        return self.at


def at(hour: int, minute: int = 0, *, day: int = 0) -> datetime:
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute)


@given(st.lists(st.integers(0, 14 * 24 * 60), min_size=1, max_size=40))
def test_wherever_the_clock_jumps_it_says_what_the_hours_say(minutes: list[int]) -> None:
    wall = Wall(MONDAY)
    hours = Hours(windows=DAY.windows, not_before=at(9), expires_at=at(18, day=7))
    timetable = Timetable(hours, wall)
    for minute in minutes:
        wall.at = MONDAY + timedelta(minutes=minute)
        opens = hours.opens_at(wall.at)
        assert timetable.is_open == (opens == wall.at)
        assert timetable.has_expired == (opens is None)


@pytest.mark.parametrize(("now", "words"), [
    (at(7), "waits until 08:30"),
    (at(12), "waits until 13:30"),
    (at(20), "waits until 08:30 tomorrow"),
    (at(21, day=4), "waits until Mon 30 Nov 08:30"),
])  # fmt: skip
def test_who_waits_is_told_until_when(now: datetime, words: str) -> None:
    assert Timetable(DAY, Wall(now)).words().removesuffix(" China time") == words


def test_a_whole_day_is_worked_out_a_few_times_only() -> None:
    looked: list[datetime] = []

    class Counted(Hours):
        def opens_at(self, now: datetime) -> datetime | None:
            looked.append(now)
            return super().opens_at(now)

    wall = Wall(at(0))
    timetable = Timetable(Counted(windows=DAY.windows), wall)
    for second in range(0, 86_400, 10):
        wall.at = at(0) + timedelta(seconds=second)
        assert timetable.is_open == (DAY.opens_at(wall.at) == wall.at)
    assert len(looked) <= 5 + 1


@pytest.mark.parametrize(("work_s", "words"), [
    (3600, "ends 12:00"),  # one hour, from eleven
    (3600 + 600, "ends 13:40"),  # over noon
    (3600 + 6.5 * 3600 + 60, "ends 08:31 tomorrow"),
])  # fmt: skip
def test_the_end_is_reckoned_in_open_hours(work_s: float, words: str) -> None:
    assert ends_words(DAY, at(11), work_s).removesuffix(" China time") == words


def test_what_will_not_have_gone_is_said_as_a_share() -> None:
    hours = Hours(windows=DAY.windows, expires_at=at(20))
    words = ends_words(hours, at(13, 30), 10 * 3600)
    assert words.startswith("at this pace 65% will have gone by 20:00")
    half = ends_words(hours, at(13, 30), 10 * 3600, gone=0.5)
    assert half.startswith("at this pace 82% will have gone by 20:00")


def test_a_moment_names_its_zone_where_the_machine_has_another() -> None:
    zone = CHINA if datetime.now().astimezone().utcoffset() != timedelta(hours=8) else UTC
    assert moment_words(at(9), at(8), zone).endswith(("China time", "UTC"))
