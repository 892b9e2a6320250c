"""The hours of a campaign: windows, weekdays, midnight, a moment to begin and one to expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.dispatch.hours import Hours, Window, read_moment, read_windows, zone_of
from engine.errors import PlanError
from engine.moments import CHINA


def china(text: str) -> datetime:
    """`11-23 09:00` in 2026, a Monday."""
    return datetime.strptime(f"2026-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=CHINA).astimezone(UTC)


DAY = read_windows(["08:30-20:00"])
TWO = read_windows(["Mon-Fri 08:30-12:00,13:30-20:00", "周六 10:00-16:00"])
NIGHT = read_windows(["Fri 22:00-02:00"])

OPENS = [
    (DAY, "11-23 07:00", "11-23 08:30"),
    (DAY, "11-23 08:30", "11-23 08:30"),
    (DAY, "11-23 19:59", "11-23 19:59"),
    (DAY, "11-23 20:00", "11-24 08:30"),  # the end is outside
    (TWO, "11-23 12:10", "11-23 13:30"),
    (TWO, "11-27 21:00", "11-28 10:00"),  # Friday night to Saturday
    (TWO, "11-28 16:00", "11-30 08:30"),  # over Sunday
    (NIGHT, "11-27 23:00", "11-27 23:00"),
    (NIGHT, "11-28 01:59", "11-28 01:59"),  # it began the day before
    (NIGHT, "11-28 02:00", "12-04 22:00"),
    ((), "11-23 03:00", "11-23 03:00"),
]


@pytest.mark.parametrize(("windows", "now", "opens"), OPENS)
def test_a_submission_may_start_only_in_a_window(windows: tuple[Window, ...], now: str, opens: str) -> None:
    assert Hours(windows=windows).opens_at(china(now)) == china(opens)


def test_windows_are_of_the_zone_and_not_of_the_machine() -> None:
    berlin = Hours(windows=DAY, zone=zone_of("Europe/Berlin"))
    assert berlin.opens_at(datetime(2026, 10, 25, 6, 0, tzinfo=UTC)) == datetime(2026, 10, 25, 7, 30, tzinfo=UTC)
    assert berlin.opens_at(datetime(2026, 10, 24, 6, 0, tzinfo=UTC)) == datetime(2026, 10, 24, 6, 30, tzinfo=UTC)


def test_nothing_starts_before_its_moment_or_after_it_expired() -> None:
    hours = Hours(not_before=china("11-24 09:00"), windows=DAY, expires_at=china("11-24 18:00"))
    assert hours.opens_at(china("11-23 10:00")) == china("11-24 09:00")
    assert hours.closes_at(china("11-24 09:00")) == china("11-24 18:00")
    assert hours.opens_at(china("11-24 18:00")) is None
    assert Hours(windows=DAY, expires_at=china("11-24 08:00")).opens_at(china("11-23 21:00")) is None


def test_a_window_may_have_the_colons_of_a_chinese_keyboard() -> None:
    assert read_windows(["周一-周五 8：30-12：00"]) == read_windows(["Mon-Fri 08:30-12:00"])


def test_windows_that_touch_are_one() -> None:
    hours = Hours(windows=read_windows(["08:00-12:00,12:00-20:00"]))
    assert hours.closes_at(china("11-23 09:00")) == china("11-23 20:00")
    assert Hours(windows=read_windows(["00:00-24:00"])).closes_at(china("11-23 09:00")) > china("11-24 12:00")  # type: ignore[operator]


def test_the_end_counts_only_the_open_seconds() -> None:
    hours = Hours(windows=TWO)
    assert hours.ends_at(china("11-23 11:00"), 3 * 3600) == china("11-23 15:30")
    assert hours.open_s(china("11-23 11:00"), china("11-23 15:30")) == 3 * 3600
    assert Hours(windows=DAY, expires_at=china("11-23 20:00")).ends_at(china("11-23 19:00"), 3601) is None


@given(
    begin=st.integers(0, 24 * 60 - 1),
    length=st.integers(1, 24 * 60 - 1),
    days=st.frozensets(st.integers(0, 6), min_size=1),
    minutes=st.integers(0, 14 * 24 * 60),
)
def test_opening_is_never_early_and_never_skips_a_window(
    begin: int, length: int, days: frozenset[int], minutes: int
) -> None:
    window = Window(begin=begin, end=(begin + length) % (24 * 60) or 24 * 60, weekdays=days)
    hours = Hours(windows=(window,))
    now = china("11-23 00:00") + timedelta(minutes=minutes)

    def may(at: datetime) -> bool:
        local = at.astimezone(CHINA)
        for back in (0, 1):
            day = local.date() - timedelta(days=back)
            since = (local.date() - day).days * 24 * 60 + local.hour * 60 + local.minute - begin
            if day.weekday() in days and 0 <= since < length:
                return True
        return False

    opens = hours.opens_at(now)
    assert opens is not None
    assert may(opens)
    steps = [now + timedelta(minutes=n) for n in range(int((opens - now).total_seconds() // 60))]
    assert not any(map(may, steps))
    closes = hours.closes_at(opens)
    assert closes is not None
    assert not may(closes) or (closes - opens) > timedelta(days=7)


@pytest.mark.parametrize(
    "text",
    ["", "8-20", "08:30", "25:00-26:00", "08:61-09:00", "09:00-09:00", "Foo 08:00-09:00", "08:00-09:00;10:00-11:00"],
)
def test_what_is_no_window_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(PlanError, match="08:30-20:00"):
        read_windows([text])


def test_a_window_reads_back_from_its_text() -> None:
    for window in (*DAY, *TWO, *NIGHT):
        days, _, stretch = str(window).rpartition(" ")
        again = [
            one for day in (days.split(",") if days else [""]) for one in read_windows([f"{day} {stretch}".strip()])
        ]
        assert {(one.begin, one.end) for one in again} == {(window.begin, window.end)}
        assert frozenset().union(*(one.weekdays for one in again)) == window.weekdays


NOW = china("11-23 10:00")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-24 09:00", china("11-24 09:00")),
        ("2026-11-24T09:00:30", china("11-24 09:00") + timedelta(seconds=30)),
        ("2026/11/24 9:00", china("11-24 09:00")),
        ("2026/11/24 9：00", china("11-24 09:00")),
        ("11:00", china("11-23 11:00")),
        ("09:00", china("11-24 09:00")),
        ("2026-11-24 09:00Z", datetime(2026, 11, 24, 9, tzinfo=UTC)),
        ("2026-11-24 09:00+0100", datetime(2026, 11, 24, 8, tzinfo=UTC)),
    ],
)
def test_a_moment(text: str, moment: datetime) -> None:
    assert read_moment(text, now=NOW) == moment


@pytest.mark.parametrize("text", ["tomorrow", "2026-02-30 09:00", "9", "24:00", "12:60"])
def test_what_is_no_moment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(PlanError, match="09:00"):
        read_moment(text, now=NOW)


def test_moments_are_in_order() -> None:
    texts = ["10:01", "23:59", "00:00", "09:59"]
    found = [read_moment(text, now=NOW) for text in texts]
    assert all(early < late for early, late in pairwise(found))
