"""The laws under every fault of the gateway: a few seeds of the soak, and what a short count comes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.simulator import Fault, Simulator, SimulatorSettings
from tests.laws.house import House, ended
from tests.laws.soak import CASES, Case, Ran, run_all, short_of, table

SEEDS = (1, 2, 3)
SEEDS_OF_SHARES = range(1, 7)  # of the balance alone
BATCH = 20  # what goes wrong are requests: those of the soak carry five times as many people
FEW, MORE = 2_000, 3_500  # five faulty requests of one kind, or of a mixture that is rarer; see rows_of
CHANCE = 0.12  # six seeds leave 75 doubts or so, and those that stay open come in groups; twenty seeds would tell
_QUICK = (
    "[pace]\nrequests_per_second = 0\n[timeouts]\nanswer_s = 30\ngrace_s = 30\n[retry]\nattempts = 10\nwait_s = 0.1\n"
)


def rows_of(case: Case) -> int:
    """As few as give some faults. The soak has more, and those of which a share must settle have all of its rows here too."""
    return MORE if sum(case.faults.values()) < 0.05 else FEW


@pytest.mark.timeout(900)
async def test_under_every_fault_nobody_is_reached_twice_lost_or_wrongly_settled() -> None:
    """Seeds of `make soak`: what must settle a share of its doubts meets several of them, every other weather one."""
    found: dict[str, Ran] = {}
    shared = [case for case in CASES if case.least is not None]
    found |= await run_all([case for case in shared if case.tracking], SEEDS)
    found |= await run_all([case for case in shared if not case.tracking], SEEDS_OF_SHARES)
    for rows in (FEW, MORE):
        others = [case for case in CASES if case.least is None and rows_of(case) == rows]
        for at, seed in enumerate(SEEDS):
            found |= await run_all(others[at :: len(SEEDS)], [seed], rows=rows, batch=BATCH)
    print(table(found))
    assert short_of(found, chance=CHANCE) == []


async def test_a_shortfall_is_counted_charged_by_count_and_never_sent_again(tmp_path: Path) -> None:
    async with Simulator(SimulatorSettings(seed=3, faults={Fault.SHORT_COUNT: 0.2}, latency_s=0.002)) as sim:
        house = House(folder=tmp_path, sim=sim)
        numbers = house.settle_in(3_000, seed=3, settings=_QUICK)
        end = await ended(await house.begin_sending())
        truth = sim.truth()
        assert end.code == 0, end.errors
        assert end.status["recipients"]["accepted"] == len(numbers)
        assert end.status["points"]["charged"] == truth["charges"] < len(numbers)
        assert end.status["points"]["unexplained"] == 0
        assert truth["twice"] == 0
