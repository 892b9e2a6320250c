"""The laws under every fault of the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.simulator import Fault, Simulator, SimulatorSettings
from tests.laws.house import House, ended

_QUICK = (
    "[pace]\nrequests_per_second = 0\n[timeouts]\nanswer_s = 0.4\ngrace_s = 1\n[retry]\nattempts = 10\nwait_s = 0.1\n"
)
ROWS = 20_000

MIXED = {
    Fault.DROP_ANSWER: 0.02,
    Fault.REFUSE: 0.02,
    Fault.HTTP_500: 0.005,
    Fault.HTTP_500_TAKEN: 0.005,
    Fault.HANG_ACCEPT: 0.01,
}


def _simulator(seed: int, faults: dict[Fault, float]) -> Simulator:
    return Simulator(SimulatorSettings(seed=seed, faults=faults, hang_s=0.8, refuse_s=0.05, latency_s=0.002))


@pytest.mark.parametrize("seed", [1, 2])
async def test_lost_answers_end_in_doubt_and_nobody_is_reached_twice(tmp_path: Path, seed: int) -> None:
    async with _simulator(seed, MIXED) as sim:
        house = House(folder=tmp_path, sim=sim)
        house.settle_in(ROWS, seed=seed, settings=_QUICK)
        end = await ended(await house.begin_sending())
        assert end.code == 4, end.errors
        assert (end.status["state"], end.status["reasons"]) == ("paused", ["in_doubt"])
        assert end.status["recipients"]["in_doubt"] > 0
        assert end.status["recipients"]["in_doubt"] + end.status["recipients"]["accepted"] == ROWS
        house.check_laws(at_rest=True)


TAKEN_OR_NOT = sorted(
    set(Fault)
    - {Fault.REFUSE, Fault.DROP_POLL, Fault.SHORT_COUNT}  # the last has a test of its own
    - {fault for fault in Fault if fault.value.startswith("faild_") and "other" not in fault.value}
)


@pytest.mark.parametrize("fault", TAKEN_OR_NOT)
async def test_each_fault_alone_leaves_the_laws_whole(tmp_path: Path, fault: Fault) -> None:
    async with _simulator(7, {fault: 0.15}) as sim:
        house = House(folder=tmp_path, sim=sim)
        numbers = house.settle_in(3_000, seed=7, settings=_QUICK)
        end = await ended(await house.begin_sending())
        house.check_laws(at_rest=True)
        recipients = end.status["recipients"]
        assert sum(recipients.values()) == len(numbers)
        assert end.code in (0, 4, 75), end.errors
        assert (end.code == 4) == (recipients["in_doubt"] > 0 and recipients["planned"] == 0)


async def test_a_shortfall_is_counted_charged_by_count_and_never_sent_again(tmp_path: Path) -> None:
    async with _simulator(3, {Fault.SHORT_COUNT: 0.2}) as sim:
        house = House(folder=tmp_path, sim=sim)
        numbers = house.settle_in(3_000, seed=3, settings=_QUICK)
        end = await ended(await house.begin_sending())
        truth = sim.truth()
        assert end.code == 0, end.errors
        assert end.status["recipients"]["accepted"] == len(numbers)
        assert end.status["points"]["charged"] == truth["charges"] < len(numbers)
        assert end.status["points"]["unexplained"] == 0
        assert truth["twice"] == 0
