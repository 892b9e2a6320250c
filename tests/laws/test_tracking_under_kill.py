"""A report can be read once: whatever is killed while reports are read, no more than one answer a kill is lost, and it is told."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.simulator import Simulator, SimulatorSettings
from tests.laws.house import House, ended
from tests.numbers import mobiles

REPORTS, A_POLL, KILLS = 40_000, 1_000, 8


@pytest.mark.parametrize("seed", [random.randrange(10**6)])  # another one every time; the failing test's name tells it
async def test_a_kill_while_reports_are_read_costs_one_answer_at_most(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with Simulator(SimulatorSettings(seed=seed)) as sim:
        house = House(folder=tmp_path, sim=sim)
        house.settle_in(1, seed=1)
        sim.plant_reports(mobiles(REPORTS, seed=seed % 1_000))
        kills = 0
        for _ in range(KILLS):
            process = await house.start("track")
            read = _read(sim)
            while process.returncode is None and read == _read(sim) < REPORTS:
                await asyncio.sleep(0.001)
            await asyncio.sleep(chance.uniform(0, 0.03))
            if process.returncode is None:
                process.kill()
                kills += 1
            await ended(process)
        end = await ended(await house.start("track", "--once"))
        assert end.code == 0, end.errors
        lost = _rows(house, "SELECT count(*) FROM poll WHERE outcome = 'lost' AND kind = 'report'")
        assert lost <= kills == KILLS
        kept = _rows(house, "SELECT count(*) FROM report")
        assert REPORTS - lost * A_POLL <= kept
        assert kept == REPORTS - REPORTS % A_POLL - A_POLL * ((REPORTS - kept) // A_POLL)  # whole answers
        assert _rows(house, "SELECT count(*) FROM poll WHERE outcome = 'answered' AND applied_at IS NULL") == 0


def _read(sim: Simulator) -> int:
    reports: dict[str, Any] = sim.truth()["reports"]  # type: ignore[assignment]
    return int(reports["read"])


def _rows(house: House, query: str) -> int:
    with closing(sqlite3.connect(f"file:{house.journal}?mode=ro", uri=True)) as journal:
        return int(journal.execute(query).fetchone()[0])
