"""Until when something may be handed over that the gateway is to send at a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from engine.dispatch.hours import Hours
from engine.dispatch.schedule import Schedule, date_words, is_over, is_too_far
from engine.dispatch.timetable import Timetable
from engine.model import PauseReason
from engine.runs.bounds import Bounds

AT = datetime(2026, 12, 1, 1, 0, tzinfo=UTC)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


@pytest.mark.parametrize(("before", "over"), [(MINUTE + SECOND, False), (MINUTE, False), (MINUTE - SECOND, True)])
def test_nothing_is_handed_over_in_the_last_minute(before: timedelta, over: bool) -> None:
    assert is_over(AT, AT - before) is over


@pytest.mark.parametrize(("before", "far"), [(30 * DAY, False), (30 * DAY + SECOND, True)])
def test_nobody_knows_whether_a_gateway_keeps_it_longer_than_thirty_days(before: timedelta, far: bool) -> None:
    assert is_too_far(AT, AT - before) is far


def test_people_read_it_on_the_gateways_clock_with_the_day() -> None:
    assert date_words(AT) == "2026-12-01 09:00 China time"
    assert date_words(AT + 30 * SECOND) == "2026-12-01 09:00:30 China time"


def test_a_pool_is_stopped_for_it_and_for_its_hours_first() -> None:
    now = [AT - DAY]
    bounds = Bounds(
        Timetable(Hours(expires_at=AT), lambda: now[0]), None, price=Decimal(1), schedule=Schedule(AT, lambda: now[0])
    )
    assert bounds.closed() is None
    now[0] = AT - SECOND
    end = bounds.closed()
    assert end is not None
    assert (end.reason, "2026-12-01 09:00" in end.detail) == (PauseReason.SCHEDULE, True)
    now[0] = AT
    end = bounds.closed()
    assert end is not None
    assert end.reason is PauseReason.WINDOW  # its time is over, so the rest expires
