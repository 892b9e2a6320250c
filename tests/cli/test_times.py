"""The times that people read: in the zone of the settings, wherever the machine stands, and named once on a page."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.desk import Desk

TOKYO = "the time of Asia/Tokyo"
ELSEWHERE = {"TZ": "America/New_York"}
STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?")


@pytest.mark.parametrize(
    ("words", "times"),
    [
        (("status",), 1),
        (("audit", "spring"), 2),
        (("why",), 2),
        (("optouts", "list"), 1),
        (("report", "spring", "--html", "-"), 2),
        (("forget", "--older-than", "1d", "--dry-run"), 0),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
async def test_a_page_shows_the_zone_of_the_settings_and_names_it_once(
    desk: Desk, words: tuple[str, ...], times: int
) -> None:
    number = desk.list(3)[0]
    begun = datetime.now(UTC)
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    assert (await desk.run("optouts", "add", number)).code == 0
    desk.configure('[hours]\ntimezone = "Asia/Tokyo"\n')

    end = await desk.run(*words, *([number] if words == ("why",) else []), environ=ELSEWHERE)

    assert end.code == 0, end.errors
    assert end.output.count(TOKYO) == 1, end.output
    assert "China time" not in end.output
    here = [datetime.fromisoformat(each) - timedelta(hours=9) for each in STAMP.findall(end.output)]
    recent = [each for each in here if abs(each - begun.replace(tzinfo=None)) < timedelta(minutes=30)]
    assert len(recent) >= times, end.output
    assert len(recent) == len(here) or words[0] == "forget", end.output


async def test_china_time_is_the_usual_one_and_machines_get_the_offset(desk: Desk) -> None:
    number = desk.list(3)[0]
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0

    page = await desk.run("status", environ=ELSEWHERE)
    (trace,) = (await desk.run("why", number, "--json", environ=ELSEWHERE)).json

    assert "made, China time (UTC+8)" in page.output
    assert datetime.fromisoformat(trace["attempts"][0]["started"]).utcoffset() == timedelta(0)
