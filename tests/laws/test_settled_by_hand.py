"""`xinshi settle` as its users run it: what stays in doubt is listed with its reason, and a person's word ends it."""

from __future__ import annotations

import getpass
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from engine.simulator import Fault, Simulator, SimulatorSettings
from tests.cli.desk import until
from tests.laws.house import Ended, House, ended

ROWS, SEED = 150, 12
LOST = {Fault.DROP_ANSWER: 0.2, Fault.RESET_BEFORE: 0.2}
_SMALL = "[batch]\nmax_recipients = 10\n[breaker]\ndoubts = 50\n[retry]\nwait_s = 0.05\n[tracking]\nenabled = false\n"
_FAST = _SMALL + "[pace]\nrequests_per_second = 0\nin_flight = 3\n"
_SLOW = _SMALL + "[pace]\nrequests_per_second = 3\nin_flight = 2\n"
PATIENT = "[settlement]\nmin_age_s = 600\nbalance_settle_s = 0.1\n"
SHARED = "exclusive = false"


@asynccontextmanager
async def housed(folder: Path, faults: dict[Fault, float], settings: str = _FAST, **more: Any) -> AsyncIterator[House]:
    async with Simulator(SimulatorSettings(seed=SEED, faults=faults)) as sim:
        house = House(folder=folder, sim=sim)
        house.settle_in(ROWS, seed=SEED, settings=settings, **more)
        yield house


@pytest.fixture
async def doubtful(tmp_path: Path) -> AsyncIterator[House]:
    """A campaign on a shared account that was sent, and some of its answers were lost."""
    async with housed(tmp_path, LOST, account=SHARED, patience=PATIENT) as house:
        begun = time.monotonic()
        end = await ended(await house.begin_sending())
        assert (end.code, end.status["reasons"]) == (4, ["in_doubt"]), (SEED, end.errors)
        assert time.monotonic() - begun < 240  # nobody waits ten minutes for a balance that cannot help
        house.sim.set_faults({})
        yield house


async def settle(house: House, *words: str) -> Ended:
    return await ended(await house.start("settle", "spring", *words))


async def assume(house: House, batch: int, what: str, *, reason: str = "the vendor's log") -> Ended:
    return await settle(house, "--batch", str(batch), "--assume", what, "--reason", reason)


def doubts(house: House) -> list[int]:
    """The batches in doubt, as on the disk."""
    return [seq for seq, state in rows(house, "SELECT seq, state FROM batch ORDER BY seq") if state == "in_doubt"]


def rows(house: House, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{house.journal}?mode=ro", uri=True)) as journal:
        return journal.execute(query).fetchall()


def was_taken(house: House, batch: int) -> bool:
    """What the gateway knows."""
    ((mobiles,),) = rows(house, f"SELECT mobiles FROM batch WHERE seq = {batch}")
    return mobiles.split(",")[0] in house.sim.truth()["mobiles"]  # type: ignore[operator]


async def test_what_stays_in_doubt_is_listed_with_what_it_waits_for(doubtful: House) -> None:
    end = await settle(doubtful)
    assert end.code == 4, end.errors
    listed = end.status["doubts"]
    assert [doubt["batch"] for doubt in listed] == doubts(doubtful) != []
    for doubt in listed:
        assert (doubt["recipients"], "shared" in doubt["waits_for"], doubt["reason"] != "") == (10, True, True)


async def test_by_a_person_s_word_every_doubt_ends_and_the_campaign_is_finished(doubtful: House) -> None:
    open_then = doubts(doubtful)
    by_truth = {batch: was_taken(doubtful, batch) for batch in open_then}
    assert set(by_truth.values()) == {True, False}, SEED
    charged = rows(doubtful, "SELECT sum(points) FROM entry")[0][0]
    for batch, taken in by_truth.items():
        told = await assume(doubtful, batch, "taken" if taken else "not-taken")
        assert (told.code, told.status["done"]) == (0, True), told.errors
    assert doubts(doubtful) == []
    taken_now = 10 * sum(by_truth.values())
    assert rows(doubtful, "SELECT sum(points) FROM entry")[0][0] == charged + taken_now * 10_000
    end = await ended(await doubtful.start("run", "spring"))
    assert (end.code, end.status["state"], end.status["recipients"]["accepted"]) == (0, "finished", ROWS), end.errors
    assert end.status["points"]["charged"] == doubtful.sim.truth()["charges"] == ROWS
    doubtful.check_laws(at_rest=True)
    again = await settle(doubtful)
    assert (again.code, again.status["doubts"]) == (0, [])


async def test_whose_word_it_was_and_why_is_told_of_every_number(doubtful: House) -> None:
    batch = doubts(doubtful)[0]
    await assume(doubtful, batch, "taken", reason="Herr Müller 说已发出")
    ((mobiles,),) = rows(doubtful, f"SELECT mobiles FROM batch WHERE seq = {batch}")
    end = await ended(await doubtful.start("why", mobiles.split(",")[3]))
    assert end.code == 0, end.errors
    for words in (getpass.getuser(), "Herr Müller 说已发出", "operator"):
        assert words in end.output


WRONG: dict[str, tuple[list[str], str]] = {
    "without a reason": (["--batch", "{open}", "--assume", "taken"], "--reason"),
    "without a batch": (["--assume", "taken", "--reason", "x"], "--batch"),
    "a word nobody knows": (["--batch", "{open}", "--assume", "maybe", "--reason", "x"], "not-taken"),
    "no such batch": (["--batch", "99", "--assume", "taken", "--reason", "x"], "not in doubt"),
    "not in doubt": (["--batch", "{sent}", "--assume", "not-taken", "--reason", "x"], "not in doubt"),
}


async def test_a_word_that_is_not_understood_is_refused_with_words_and_changes_nothing(doubtful: House) -> None:
    open_then = doubts(doubtful)
    sent = next(batch for batch in range(1, 16) if batch not in open_then)
    for name, (words, told) in WRONG.items():
        end = await settle(doubtful, *(word.format(open=open_then[0], sent=sent) for word in words))
        assert (name, end.code, told in end.errors, end.output) == (name, 2, True, ""), (name, end)
    end = await ended(await doubtful.start("settle", "sprung", "--batch", "1", "--assume", "taken", "--reason", "x"))
    assert (end.code, "sprung" in end.errors) == (2, True)
    assert doubts(doubtful) == open_then


async def test_a_run_with_nothing_but_doubts_left_ends_as_the_last_one_did(doubtful: House) -> None:
    open_then = doubts(doubtful)
    sends = doubtful.sim.truth()["requests"]
    end = await ended(await doubtful.start("run", "spring"))
    assert (end.code, end.status["reasons"]) == (4, ["in_doubt"]), end.errors
    assert (doubts(doubtful), doubtful.sim.truth()["requests"]) == (open_then, sends)


async def test_a_word_reaches_the_process_that_sends_the_campaign_and_it_sends_the_batch_again(tmp_path: Path) -> None:
    async with housed(tmp_path, {}, _SLOW, account=SHARED, patience=PATIENT) as house:
        process = await house.begin_sending()
        await house.sim.wait_for_requests(3)
        house.sim.set_faults({Fault.RESET_BEFORE: 1.0})
        first = (await until(lambda: doubts(house)))[0]
        house.sim.set_faults({})
        assert process.returncode is None
        told = await assume(house, first, "not-taken")
        assert (told.code, told.status["done"], process.returncode) == (0, True, None), told.errors
        wrong = await assume(house, 99, "taken")
        assert wrong.code != 0
        assert "batch 99 of spring is not in doubt" in wrong.output + wrong.errors
        end = await ended(process)
        assert {outcome for (outcome,) in rows(house, f"SELECT outcome FROM attempt a JOIN batch b ON b.id = a.batch_id WHERE b.seq = {first}")} == {"in_doubt", "accepted"}  # fmt: skip
        left = doubts(house)
        assert end.code == (4 if left else 0), end.errors
        assert first not in left
        house.check_laws(at_rest=True)


async def test_with_nothing_in_doubt_settle_is_done_and_asks_the_gateway_nothing(tmp_path: Path) -> None:
    async with housed(tmp_path, {}) as house:
        await ended(await house.begin_sending())
        asked = house.sim.truth()["requests"]
        end = await settle(house)
        assert (end.code, end.status["doubts"], house.sim.truth()["requests"]) == (0, [], asked), end.errors
        unknown = await ended(await house.start("settle", "sprung"))
        assert (unknown.code, "sprung" in unknown.errors) == (2, True)


async def test_what_a_killed_run_left_in_doubt_settles_itself_at_the_next_start(tmp_path: Path) -> None:
    async with housed(tmp_path, {}) as house:
        killed = await ended(await house.begin_sending(crash="kill:request written:1"))
        assert killed.code == -9
        house.check_laws(at_rest=False)
        end = await ended(await house.start("run", "spring"))
        assert (end.code, end.status["recipients"]["accepted"]) == (0, ROWS), end.errors
        assert rows(house, "SELECT count(*) FROM attempt WHERE settled_by = 'balance'")[0][0] >= 1
        house.check_laws(at_rest=True)
        assert end.status["points"]["unexplained"] == 0
