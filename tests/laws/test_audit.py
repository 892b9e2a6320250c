"""The audit: a sound campaign passes, and every planted fault is found by name."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.simulator import Fault, Simulator, SimulatorSettings
from tests.laws.house import House, ended

ROWS = 1_500
_QUICK = """
[pace]
requests_per_second = 0
[timeouts]
answer_s = 20
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with Simulator(SimulatorSettings(seed=4)) as sim:
        house = House(folder=tmp_path, sim=sim)
        house.settle_in(ROWS, seed=21, settings=_QUICK)
        assert (await ended(await house.begin_sending())).code == 0
        yield house


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a sound campaign leaves in a folder, to be copied."""
    folder = tmp_path_factory.mktemp("sent")

    async def main() -> None:
        async with Simulator(SimulatorSettings(seed=4)) as sim:
            house = House(folder=folder, sim=sim)
            house.settle_in(ROWS, seed=21, settings=_QUICK)
            assert (await ended(await house.begin_sending())).code == 0

    asyncio.run(main())
    return folder


async def _audited(house: House, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    end = await ended(await house.start("audit", "spring", *words))
    return end.code, {finding["law"]: finding for finding in end.status["laws"]}


async def _page(house: House, *words: str) -> str:
    """What people see."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine", *words, "--config", str(house.folder / "xinshi.toml")),
        env={**os.environ, "XINSHI_ACCOUNT__PASSWORD": "demo", "XDG_STATE_HOME": str(house.folder)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return output.decode()


def _tamper(house: House, statements: str) -> None:
    with closing(sqlite3.connect(house.journal, isolation_level=None)) as journal:
        journal.executescript(statements)


async def test_a_sound_campaign_passes_alone_and_against_the_gateways_truth(house: House) -> None:
    code, laws = await _audited(house, "--truth", house.sim.url)
    assert code == 0
    assert {law: finding["holds"] for law, finding in laws.items()} == dict.fromkeys(laws, True)
    assert set(laws) == {"conservation", "once", "intent_first", "covered", "points", "evidence", "opt_outs"}


async def test_the_page_shows_the_laws_the_polls_and_the_balance_drawn(house: House) -> None:
    page = " ".join((await _page(house, "audit", "spring")).split())
    left, batches = f"{10_000_000 - ROWS:,}", _batches(house)
    for words in (
        "verdict every law holds",
        "lost 0, unreadable 0",
        f"charged -{ROWS:,} in {batches} batches closing {left} read at ",
    ):
        assert words in page
    # Which batch the gateway took last is chance: several were under way.
    drawn = rf"charged -{ROWS:,} {batches} charges, batch 1 of spring to batch \d+ of spring closing {left} "
    assert re.search(drawn, page)


def _batches(house: House) -> int:
    with closing(sqlite3.connect(house.journal)) as journal:
        return int(journal.execute("SELECT count(*) FROM batch").fetchone()[0])


async def test_lost_answers_leave_every_law_whole(tmp_path: Path) -> None:
    """Distinct sizes: the balance settles them. Equal ones, and nobody reads reports: some stay open."""
    faults = {Fault.DROP_ANSWER: 0.1, Fault.RESET_BEFORE: 0.1}
    for sizes in ("true", "false"):
        folder = tmp_path / sizes
        folder.mkdir()
        async with Simulator(SimulatorSettings(seed=5, faults=faults)) as sim:
            house = House(folder=folder, sim=sim)
            house.settle_in(ROWS, seed=22, settings=f"{_QUICK}[batch]\ndistinct_sizes = {sizes}\n")
            assert (await ended(await house.begin_sending())).code in (0, 4)
            code, laws = await _audited(house, "--truth", sim.url)
            assert code == 0, laws
            assert not laws["evidence"]["detail"].startswith("0 doubts")


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
            """INSERT INTO attempt (batch_id, number, account, campaign_id, epoch, size, omitted, started_at, finished_at,
               outcome, task_id) SELECT batch_id, 2, account, campaign_id, epoch, size, omitted, started_at, finished_at,
               outcome, '77' FROM attempt WHERE batch_id = 3""",
        ),
        (
            "once",
            "is reported under two task ids",
            """INSERT INTO poll (id, account, kind, asked_at) SELECT 900, account, 'report', 1 FROM campaign;
               INSERT INTO report (account, task_id, mobile, state, status, error_code, poll_id)
               SELECT a.account, a.task_id, substr(b.mobiles, 1, 11), 'delivered', '10', '', 900 FROM attempt a
               JOIN batch b ON b.seq = 1 WHERE a.batch_id IN (1, 2)""",
        ),
        (
            "opt_outs",
            "opted out at",
            """INSERT INTO opt_out (account, mobile, seq, at, reason, source)
               SELECT c.account, substr(b.mobiles, 1, 11), 1, 1, 'T', 'reply' FROM campaign c JOIN batch b ON b.seq = 2""",
        ),
        (
            "intent_first",
            "0 are written down",
            "DELETE FROM entry WHERE batch_id = 4; DELETE FROM attempt WHERE batch_id = 4",
        ),
        ("covered", "without a valid answer", "UPDATE attempt SET outcome = 'not_sent' WHERE batch_id = 5"),
        (
            "points",
            "1 point is missing between ",
            "UPDATE entry SET remaining = remaining - 10000 WHERE kind = 'reading' AND id > 1",
        ),
        ("evidence", "nothing says why", "UPDATE attempt SET outcome = 'in_doubt' WHERE batch_id = 6"),
        (
            "evidence",
            "the doubt about attempt 1 of batch 6 was ended as taken without any evidence",
            "UPDATE attempt SET outcome = 'in_doubt', evidence = 'taken: ', settled_by = 'balance' WHERE batch_id = 6",
        ),
        (
            "points",
            "100 points are charged for it",
            "UPDATE attempt SET outcome = 'not_taken' WHERE batch_id = 1; UPDATE batch SET state = 'planned' WHERE seq = 1",
        ),
    ],
)
async def test_what_is_planted_is_found_by_name(
    tmp_path: Path, sent: Path, law: str, word: str, tampering: str
) -> None:
    shutil.copytree(sent, tmp_path, dirs_exist_ok=True)
    house = House(folder=tmp_path, sim=Simulator())  # which nobody asks
    _tamper(house, tampering)
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


async def test_polls_lost_and_flags_stand_beside_the_laws(house: House) -> None:
    _tamper(
        house,
        """INSERT INTO poll (account, kind, asked_at, most, answered_at, outcome, problem)
           SELECT account, 'report', 1, 1000, 2, 'lost', 'cut' FROM campaign""",
    )
    end = await ended(await house.start("audit", "spring"))
    polls = end.status["polls"]
    assert (end.code, polls["lost"], polls["may_have_cost"], polls["unread"], end.status["flags"]) == (
        0,
        1,
        1000,
        0,
        [],
    )
    assert list(end.status)[-3:] == ["laws", "polls", "flags"]


async def test_why_tells_the_way_of_one_number(house: House) -> None:
    mobile = next(iter(house.states()))
    _tamper(
        house,
        f"""INSERT INTO poll (id, account, kind, asked_at) SELECT 900, account, 'report', 1 FROM campaign;
            INSERT INTO report (account, task_id, mobile, state, received_at, status, error_code, poll_id)
            SELECT account, task_id, '{mobile}', 'undelivered', 60000000, '20', 'MK:0011', 900 FROM attempt
            WHERE batch_id = 1""",
    )
    end = await ended(await house.start("why", f"+86 {mobile}"))
    (trace,) = json.loads(end.output)
    assert (trace["campaign"], trace["line"], trace["state"], trace["batch"]) == ("spring", 2, "accepted", 1)
    assert trace["attempts"][0]["outcome"] == "accepted"
    assert trace["task_id"] == trace["attempts"][0]["task_id"]
    assert trace["report"] == {
        "state": "undelivered",
        "status": "20",
        "error_code": "MK:0011",
        "received": "1970-01-01T00:01:00+00:00",
    }
    assert {"file", "exclusion", "evidence"} <= trace.keys()
    page = await _page(house, "why", mobile)
    assert f"  task id  {trace['task_id']}\n  report   undelivered at " in page
    assert "(the gateway says 「20 MK:0011」)" in page


async def test_why_tells_of_a_cell_that_is_no_number_where_it_was_left_out(tmp_path: Path) -> None:
    async with Simulator(SimulatorSettings(seed=4)) as sim:
        house = House(folder=tmp_path, sim=sim)
        house.settle_in(30, seed=21, settings=_QUICK)
        with (tmp_path / "list.csv").open("a", encoding="gb18030") as file:
            file.write("1380013800\n")
        assert (await ended(await house.begin_sending())).code == 0
        (trace,) = json.loads((await ended(await house.start("why", "1380013800"))).output)
        assert (trace["state"], trace["line"]) == ("excluded", 32)
        assert trace["exclusion"].startswith("invalid: ")
        assert (await ended(await house.start("why", "1380013801"))).code == 2
