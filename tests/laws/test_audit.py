"""The audit: a sound campaign passes, and every planted fault is found by name."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.simulator import Fault, Simulator, SimulatorSettings
from tests.laws.house import House, ended

ROWS = 1_500
_QUICK = "[pace]\nrequests_per_second = 0\n[timeouts]\nanswer_s = 0.4\n"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with Simulator(SimulatorSettings(seed=4)) as sim:
        house = House(folder=tmp_path, sim=sim)
        house.settle_in(ROWS, seed=21, settings=_QUICK)
        assert (await ended(await house.begin_sending())).code == 0
        yield house


async def _audited(house: House, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    end = await ended(await house.start("audit", "spring", *words))
    return end.code, {finding["law"]: finding for finding in end.status["laws"]}


def _tamper(house: House, *statements: str) -> None:
    with closing(sqlite3.connect(house.journal, isolation_level=None)) as journal:
        for statement in statements:
            journal.execute(statement)


async def test_a_sound_campaign_passes_alone_and_against_the_gateways_truth(house: House) -> None:
    code, laws = await _audited(house, "--truth", house.sim.url)
    assert code == 0
    assert {law: finding["holds"] for law, finding in laws.items()} == dict.fromkeys(laws, True)
    assert set(laws) >= {"conservation", "once", "intent_first", "covered", "points", "evidence"}


async def test_lost_answers_leave_every_law_whole(tmp_path: Path) -> None:
    async with Simulator(SimulatorSettings(seed=5, faults={Fault.DROP_ANSWER: 0.2})) as sim:
        house = House(folder=tmp_path, sim=sim)
        house.settle_in(ROWS, seed=22, settings=_QUICK)
        assert (await ended(await house.begin_sending())).code == 4
        code, laws = await _audited(house, "--truth", sim.url)
        assert code == 0, laws


@pytest.mark.parametrize(
    ("law", "word", "tampering"),
    [
        ("conservation", "1 lost", "UPDATE campaign SET rows = rows + 1"),
        (
            "conservation",
            "no bucket holds line 30",
            """UPDATE batch SET size = size - 1, lines = '2-29,31-101',
               mobiles = substr(mobiles, 1, 12 * 28 - 1) || substr(mobiles, 12 * 29) WHERE seq = 1""",
        ),
        (
            "once",
            "is in batch 1 and in batch 2",
            "UPDATE batch SET mobiles = substr((SELECT mobiles FROM batch WHERE seq = 1), 1, 11) || substr(mobiles, 12) WHERE seq = 2",
        ),
        (
            "once",
            "handed over again",
            """INSERT INTO attempt SELECT batch_id, 2, account, campaign_id, epoch, size, omitted, started_at, finished_at,
               outcome, reason, refusal, '77', success_counts, http_status, raw, evidence FROM attempt WHERE batch_id = 3""",
        ),
        (
            "intent_first",
            "0 are written down",
            "DELETE FROM entry WHERE batch_id = 4; DELETE FROM attempt WHERE batch_id = 4",
        ),
        ("covered", "without a valid answer", "UPDATE attempt SET outcome = 'not_sent' WHERE batch_id = 5"),
        (
            "points",
            "1 points missing",
            "UPDATE entry SET remaining = remaining - 10000 WHERE kind = 'reading' AND id > 1",
        ),
        ("evidence", "nothing says why", "UPDATE attempt SET outcome = 'in_doubt' WHERE batch_id = 6"),
    ],
)
async def test_what_is_planted_is_found_by_name(house: House, law: str, word: str, tampering: str) -> None:
    _tamper(house, *tampering.split("; "))
    code, laws = await _audited(house)
    assert code == 1
    assert not laws[law]["holds"]
    assert word in laws[law]["detail"]


async def test_a_message_that_the_gateway_took_twice_is_found(house: House) -> None:
    truth = house.sim.truth()["mobiles"]
    assert isinstance(truth, dict)
    _tamper(house, "UPDATE batch SET state = 'planned' WHERE seq = 2")
    code, laws = await _audited(house, "--truth", house.sim.url)
    assert (code, laws["covered"]["holds"]) == (1, False)
    assert "which is planned here" in laws["covered"]["detail"]


async def test_why_tells_the_way_of_one_number(house: House) -> None:
    mobile = next(iter(house.states()))
    end = await ended(await house.start("why", f"+86 {mobile}"))
    (trace,) = json.loads(end.output)
    assert (trace["campaign"], trace["line"], trace["state"], trace["batch"]) == ("spring", 2, "accepted", 1)
    assert trace["attempts"][0]["outcome"] == "accepted"
    assert trace["task_id"] == trace["attempts"][0]["task_id"]
