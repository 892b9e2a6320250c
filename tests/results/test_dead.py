"""Numbers that a campaign found dead are sent to no more, and can be let in again."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.cli.desk import Desk
from tests.numbers import mobiles
from tests.results.desk import customers, sent


@pytest.mark.parametrize("settings", [{"report_delay_s": 0, "undelivered": 0.4}], indirect=True)
async def test_the_codes_of_the_profile_or_of_the_operator_decide(desk: Desk) -> None:
    numbers = mobiles(60)
    desk.write("list.csv", customers(numbers))
    await sent(desk)
    end = await desk.run("optouts", "import", "--from-dead", "spring")
    assert (end.code, end.output) == (0, "0 opt-outs recorded\n")
    assert "UNDELIV" in end.errors  # which codes there are
    with closing(sqlite3.connect(desk.journal)) as journal, journal:
        some = "SELECT mobile FROM report WHERE state = 'undelivered' ORDER BY mobile LIMIT 5"
        dead = {mobile for (mobile,) in journal.execute(some)}
        journal.execute(f"UPDATE report SET error_code = 'MK:0001' WHERE mobile IN ({some})")
    end = await desk.run("optouts", "import", "--from-dead", "spring", "--json")
    assert end.json == {"added": 5, "known": 0, "reached_since": 0, "codes": {"MK:0001": 5}}
    listed = (await desk.run("optouts", "list", "--json")).json
    assert {(each["number"], each["reason"]) for each in listed} == {
        (number, "reported dead: MK:0001 in spring") for number in dead
    }
    assert (await desk.run("optouts", "import", "--from-dead", "spring", "--json")).json["known"] == 5
    back, *others = sorted(dead)
    assert (await desk.run("optouts", "remove", back)).code == 0
    before = dict(desk.truth["mobiles"])
    await sent(desk, "--again", campaign="next")
    went = {number for number, times in desk.truth["mobiles"].items() if times > before.get(number, 0)}
    assert went == set(numbers) - set(others)


@pytest.mark.parametrize("settings", [{"report_delay_s": 0, "undelivered": 0.5}], indirect=True)
async def test_who_was_reached_since_is_not_dead(desk: Desk) -> None:
    desk.write("list.csv", customers(mobiles(40)))
    await sent(desk)
    await sent(desk, "--again", campaign="next")
    later = "task_id IN (SELECT task_id FROM attempt WHERE campaign_id = 2)"
    with closing(sqlite3.connect(desk.journal)) as journal, journal:
        journal.execute(f"UPDATE report SET state = 'delivered', status = '10' WHERE {later} AND mobile LIKE '%5%'")
    query = (
        "SELECT mobile FROM report WHERE task_id IN "
        "(SELECT task_id FROM attempt WHERE campaign_id = {}) AND state = '{}'"
    )
    dead = {mobile for (mobile,) in desk.rows(query.format(1, "undelivered"))}
    reached = {mobile for (mobile,) in desk.rows(query.format(2, "delivered"))}
    end = await desk.run("optouts", "import", "--from-dead", "spring", "--codes", "UNDELIV,XX", "--json")
    assert min(len(dead & reached), len(dead - reached)) > 3
    assert (end.json["added"], end.json["reached_since"]) == (len(dead - reached), len(dead & reached))


async def test_a_list_or_a_campaign_not_both_not_neither(desk: Desk) -> None:
    desk.list(3)
    for words in ((), ("list.csv", "--from-dead", "spring")):
        assert (await desk.run("optouts", "import", *words)).code == 2
