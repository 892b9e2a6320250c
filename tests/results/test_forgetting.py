"""Numbers and texts of old campaigns go, from every byte of the journal; counts and opt-outs stay."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from typing import Any

import pytest

from tests.cli.desk import TEXT, Desk
from tests.numbers import mobiles
from tests.results.desk import QUICK, customers, sent

YEAR_US = 365 * 86_400 * 1_000_000
TIMES = {
    "campaign": ["created_at"],
    "attempt": ["started_at", "finished_at"],
    "entry": ["at", "asked_at"],
    "poll": ["asked_at", "answered_at", "applied_at"],
    "report": ["received_at"],
    "reply": ["received_at"],
}


def made_older(desk: Desk) -> None:
    """Move everything in the journal back by a year."""
    with closing(sqlite3.connect(desk.journal)) as journal, journal:
        for table, columns in TIMES.items():
            for column in columns:
                journal.execute(f"UPDATE {table} SET {column} = {column} - {YEAR_US}")


def bytes_of(desk: Desk) -> bytes:
    """Everything the journal is made of on the disk."""
    beside = [path for path in desk.journal.parent.iterdir() if path.is_file()]
    return b"".join(path.read_bytes() for path in beside)


async def json_of(desk: Desk, *words: str, code: int = 0) -> Any:
    end = await desk.run(*words, "--json")
    assert end.code == code, end.errors
    return end.json


@pytest.mark.parametrize("settings", [{"report_delay_s": 0, "undelivered": 0.3}], indirect=True)
async def test_no_byte_of_a_forgotten_number_or_text_is_left_and_the_counts_are(desk: Desk) -> None:
    numbers = mobiles(40)
    extra = f"王,12345,北京,门店,\r\n赵,{numbers[3]},广州,门店,\r\n"
    desk.write("list.csv", customers(numbers) + extra)
    desk.configure(QUICK)
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    desk.sim.plant_uplink(numbers[7], "很好谢谢")
    desk.sim.plant_uplink(numbers[8], "退订")
    assert (await desk.run("track", "--once", "-q")).code == 0
    before = await json_of(desk, "status", "spring")
    made_older(desk)
    held = bytes_of(desk)
    assert all(number.encode() in held for number in numbers)
    assert TEXT.encode() in held
    shown = await json_of(desk, "forget", "--older-than", "180d", "--dry-run")
    assert ([each["campaign"] for each in shown["campaigns"]], shown["done"]) == (["spring"], False)
    assert all(number.encode() in bytes_of(desk) for number in numbers)
    assert (await json_of(desk, "forget", "--older-than", "180d", "--yes"))["done"]
    held = bytes_of(desk)
    assert [number for number in numbers if number.encode() in held] == [numbers[8]]  # who opted out
    for text in (TEXT, "很好谢谢", "客户3", "12345"):
        assert text.encode() not in held
    assert not list(desk.journal.parent.glob("*rejects*"))
    assert not list(desk.journal.parent.glob("*.lists"))
    after = await json_of(desk, "status", "spring")
    assert after.pop("forgotten")
    assert after == before
    assert before["delivery"]["undelivered"] > 3


@pytest.mark.parametrize("settings", [{"report_delay_s": 0}], indirect=True)
@pytest.mark.parametrize("place", ["forget_campaigns committed", "forget_told committed"])
async def test_what_a_killed_forgetting_has_left_is_gone_after_the_next(desk: Desk, place: str) -> None:
    numbers = mobiles(400)
    desk.write("list.csv", customers(numbers))
    desk.configure(QUICK)
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    assert (await desk.run("track", "--once", "-q")).code == 0
    made_older(desk)
    (folder,) = desk.journal.parent.glob("*.lists")
    (folder / ".abcdef.partial").write_text(numbers[0])  # of a send that was killed while it kept a copy
    for name, age_s in (("old", YEAR_US // 1_000_000), ("new", 60)):  # of plannings that were killed
        half = desk.journal.parent / f".{name}_xinshi_rejects.csv.abcdef.partial"
        half.write_text(numbers[0] if name == "old" else "")
        os.utime(half, (time.time() - age_s,) * 2)
    forget = ("forget", "--older-than", "180d", "--yes")
    assert (await desk.run(*forget, environ={"_XINSHI_CRASH": f"kill:{place}:1"})).code == -9
    assert (await desk.run(*forget)).code == 0
    held = bytes_of(desk)
    assert [number for number in numbers if number.encode() in held] == []
    assert TEXT.encode() not in held
    assert not list(desk.journal.parent.glob("*.lists"))
    assert not list(desk.journal.parent.glob("*.forgetting"))
    assert [half.name[:4] for half in desk.journal.parent.glob(".*.partial")] == [
        ".new"
    ]  # that one may still be written
    assert desk.rows("PRAGMA freelist_count") == [(0,)]  # written anew: pages that split long ago hold numbers, too


@pytest.mark.parametrize("settings", [{"report_delay_s": 0}], indirect=True)
async def test_the_audit_holds_by_counts_and_says_when_it_was_forgotten(desk: Desk) -> None:
    desk.write("list.csv", customers(mobiles(40)))
    await sent(desk)
    made_older(desk)
    assert (await desk.run("forget", "--older-than", "1y", "--yes")).code == 0
    audit = await json_of(desk, "audit", "spring")
    assert all(law["holds"] for law in audit["laws"]), audit["laws"]
    assert "forgotten on 20" in audit["laws"][0]["detail"]
    page = (await desk.run("status", "spring")).output
    assert "forgotten" in page
    end = await desk.run("export", "spring", "--output", "out.csv")
    assert (end.code, "were forgotten on 20" in end.errors) == (2, True)
    assert (await desk.run("report", "spring", "--html", "r.html")).code == 0
    assert (await desk.run("run", "spring")).code == 0  # nothing is left to do
    assert len(desk.truth["mobiles"]) == 40
    again = await json_of(desk, "forget", "--older-than", "1y", "--yes")
    assert again["campaigns"] == []


async def test_what_is_not_old_not_over_or_in_doubt_is_not_forgotten(desk: Desk) -> None:
    desk.write("list.csv", customers(mobiles(40)))
    await sent(desk)
    desk.write("two.csv", customers(mobiles(40, seed=2)))
    desk.configure(QUICK)
    assert (await desk.run(*desk.order("--campaign", "half", "--limit", "10", name="two.csv"))).code == 75
    made_older(desk)
    desk.write("three.csv", customers(mobiles(5, seed=3)))
    await sent(desk, name="three.csv", campaign="young")
    with closing(sqlite3.connect(desk.journal)) as journal, journal:
        journal.execute("UPDATE attempt SET outcome = 'in_doubt' WHERE batch_id = 2")
        journal.execute("UPDATE batch SET state = 'in_doubt' WHERE id = 2")
    found = await json_of(desk, "forget", "--older-than", "26w", "--yes")
    assert found["campaigns"] == []
    assert [(each["campaign"], each["batches"]) for each in found["not_over"]] == [("spring", 1), ("half", 3)]
    held = bytes_of(desk)
    assert all(number.encode() in held for seed, count in ((1, 40), (2, 40), (3, 5)) for number in mobiles(count, seed))


async def test_a_list_that_a_young_campaign_was_sent_from_is_kept(desk: Desk) -> None:
    desk.write("list.csv", customers(mobiles(5)))
    await sent(desk)
    made_older(desk)
    await sent(desk, "--again", campaign="young")
    assert (await desk.run("forget", "--older-than", "180d", "--yes")).code == 0
    (desk.folder / "list.csv").unlink()
    assert (await desk.run("export", "young", "--output", "out.csv")).code == 0
    assert "客户3" in (desk.folder / "out.csv").read_text(encoding="utf-8-sig")


async def test_it_asks_and_waits_for_the_owner_and_knows_ages(desk: Desk) -> None:
    desk.write("list.csv", customers(mobiles(5)))
    await sent(desk)
    made_older(desk)
    end = await desk.run("forget", "--older-than", "180d")
    assert (end.code, "--yes" in end.errors) == (2, True)
    end = await desk.run("forget", "--older-than", "9y", "--json")
    assert (end.code, end.json["done"], end.json["campaigns"]) == (0, False, []), "there is nothing to ask about"
    for age in ("180x", "0d", "-5d", "soon"):
        assert (await desk.run("forget", "--older-than", age, "--yes")).code == 2
    tracking = await desk.start("track")
    assert tracking.stderr is not None
    while b"Ctrl-C" not in await tracking.stderr.readline():
        pass
    end = await desk.run("forget", "--older-than", "180d", "--yes")
    assert (end.code, str(tracking.pid) in end.errors) == (75, True)
    assert (await desk.run("forget", "--older-than", "180d", "--dry-run")).code == 0
