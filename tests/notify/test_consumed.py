"""A consumer runs for weeks: people are told when it does not any more."""

from __future__ import annotations

from pathlib import Path

from engine.simulator import Simulator, SimulatorSettings
from tests.laws.house import ended
from tests.notify.samples import receiving
from tests.queues.house import House
from tests.queues.test_command import Nowhere


async def test_people_are_told_that_a_consumer_has_stopped(tmp_path: Path) -> None:
    async with Simulator(SimulatorSettings(password="another")) as sim, receiving() as receiver:
        more = f'[notify]\nwebhook = "{receiver.url}"\n'
        house = House(tmp_path, Nowhere(), sim, more=more)  # type: ignore[arg-type]  # it never gets as far as to the broker
        end = await ended(await house.consume("--once"))
    assert (end.code, end.status["reason"]) == (75, "credentials")
    (told,) = receiver.messages
    assert (told["event"], told["reasons"], told["account"]) == ("pause", ["credentials"], "default")
    assert told["campaign"].startswith("notices")
