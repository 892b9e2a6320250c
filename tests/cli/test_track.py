"""`track --once`: what was read, what it belongs to, and what is missing, in plain words."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest

from tests.cli.desk import Desk

WORDS = ("read", "new", "opt-outs", "joined", "delivered", "undelivered", "missing", "not ours")


@pytest.mark.parametrize(
    "settings", [{"report_delay_s": 0, "undelivered": 0.3, "unreported": 0.2, "seed": 3}], indirect=True
)
async def test_it_says_what_was_read_joined_and_is_missing(desk: Desk) -> None:
    number = desk.list(100)[0]
    desk.configure("[tracking]\nreport_interval_s = 3600\nreply_interval_s = 3600\n")
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    desk.sim.plant_uplink(number, "退订")

    end = await desk.run("track", "--once")
    delivery = (await desk.run("status", "spring", "--json")).json["delivery"]
    again = (await desk.run("track", "--once", "--json")).json

    counted = {
        name: int(found[1]) for name in WORDS if (found := re.search(rf"^ *{name} +(\d+)", end.output, re.MULTILINE))
    }
    reported = delivery["delivered"] + delivery["undelivered"]
    assert 0 < delivery["unreported"] < reported
    assert counted.pop("read") >= counted.pop("new") >= 1  # the run itself may have read some already
    assert counted == {
        "opt-outs": 1, "joined": reported, "delivered": delivery["delivered"], "undelivered": delivery["undelivered"],
        "missing": delivery["unreported"],
    }, end.output  # fmt: skip
    assert "messages without a final report; it may still come" in end.output
    assert again["records"] == 0
    assert again["delivery"] == {**delivery, "overdue": 0, "unjoined": 0}


@pytest.mark.parametrize("settings", [{"report_delay_s": 0}], indirect=True)
async def test_reports_of_messages_from_elsewhere_are_told_apart(desk: Desk) -> None:
    desk.list(3)
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    assert (await desk.run("track", "--once")).code == 0
    with closing(sqlite3.connect(desk.journal)) as journal, journal:
        journal.execute("UPDATE attempt SET task_id = 'of-another'")
        reports = journal.execute("SELECT count(*) FROM report").fetchone()[0]

    end = await desk.run("track", "--once")

    assert reports == 3
    assert re.search(r"^not ours +3  reports of no message in this journal", end.output, re.MULTILINE), end.output
    assert re.search(r"^missing +3  ", end.output, re.MULTILINE), end.output
