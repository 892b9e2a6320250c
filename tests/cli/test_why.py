"""`why NUMBER`: everything about one number, in order of time, and an answer also where there is nothing."""

from __future__ import annotations

import re

from tests.cli.desk import Desk
from tests.numbers import mobile, mobiles

LANDLINE = "010-62781234"


async def test_it_says_whether_the_number_is_opted_out_now(desk: Desk) -> None:
    number = desk.list(3)[0]
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    before = await desk.run("why", number)
    await desk.run("optouts", "add", number, "--reason", "called us")
    await desk.run("optouts", "add", number, "--reason", "wrote to us", "--scope", "all")
    during, told = await desk.run("why", f"+86 {number}"), await desk.run("why", number, "--json")
    await desk.run("optouts", "remove", number, "--reason", "asked for it")
    partly = await desk.run("why", number)
    await desk.run("optouts", "remove", number, "--scope", "all")
    after = await desk.run("why", number)

    since = r"since 2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d, by operator, "
    assert re.search(r"^opted out +no$", before.output, re.MULTILINE), before.output
    assert re.search(rf"^number +{number}$", during.output, re.MULTILINE), during.output
    assert re.search(rf"^OPTED OUT +{since}for the account default: called us$", during.output, re.MULTILINE), (
        during.output
    )
    assert re.search(rf"^OPTED OUT +{since}for every account: wrote to us$", during.output, re.MULTILINE), during.output
    (trace,) = told.json
    assert trace["opted_out"]["reason"] == "wrote to us"
    assert (trace["opted_out"]["scope"], trace["opted_out"]["account"]) == ("all", None)
    assert re.search(r"^was opted out .*asked for it.*: called us$", partly.output, re.MULTILINE), partly.output
    assert partly.output.count("OPTED OUT") == 1
    assert re.search(r"^opted out +no$", after.output, re.MULTILINE), after.output
    assert after.output.count("was opted out") == 2


async def test_campaigns_stand_in_order_of_time(desk: Desk) -> None:
    number, *_others = desk.list(3)
    desk.write("without.csv", f"手机号\n{number}\n")
    assert (await desk.run(*desk.order("--campaign", "one", "--exclude", "without.csv"))).code == 0
    assert (await desk.run(*desk.order("--campaign", "two", "--again"))).code == 0
    assert (await desk.run(*desk.order("--campaign", "three", "--again", "--exclude", "without.csv"))).code == 0

    page, told = await desk.run("why", number), await desk.run("why", number, "--json")

    assert re.findall(r"^campaign +(\S+)$", page.output, re.MULTILINE) == ["one", "two", "three"]
    assert [(each["campaign"], each["state"]) for each in told.json] == [
        ("one", "excluded"),
        ("two", "accepted"),
        ("three", "excluded"),
    ]
    assert page.output.count("China time (UTC+8)") == 1


async def test_a_number_in_no_list_is_told_where_was_looked(desk: Desk) -> None:
    desk.list(3)
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    stranger = mobile(seed=99)

    unknown = await desk.run("why", stranger)
    landline = await desk.run("why", LANDLINE)
    as_json = await desk.run("why", stranger, "--json")

    assert (unknown.code, as_json.json) == (0, [])
    for words in (f"number     {stranger}", "opted out  no", "in none of this journal", "looked at  spring (list.csv)"):
        assert words in unknown.output
    assert landline.code == 2
    assert f"{LANDLINE!r} is no mobile number: a landline or service number" in landline.errors
    assert "spring (list.csv)" in landline.errors


async def test_a_cell_that_is_no_number_is_found_where_it_was_left_out(desk: Desk) -> None:
    desk.write("list.csv", f"手机号\n{mobiles(1)[0]}\n{LANDLINE}\n")
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0

    end = await desk.run("why", LANDLINE)

    assert end.code == 0
    assert f"{LANDLINE}, which is no mobile number: a landline" in end.output
    assert re.search(r"^left out +landline: ", end.output, re.MULTILINE), end.output
