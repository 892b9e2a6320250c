"""`track` and `optouts` as commands."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.simulator import Simulator, SimulatorSettings
from tests.laws.house import House, ended
from tests.numbers import mobiles

QUICK = "[pace]\nrequests_per_second = 0\n[retry]\nattempts = 2\nwait_s = 0.01\n"


async def told(house: House, *words: str) -> Any:
    end = await ended(await house.start(*words))
    assert end.code == 0, end.errors
    return json.loads(end.output)


async def test_opt_outs_are_added_imported_listed_and_removed(tmp_path: Path) -> None:
    async with Simulator() as sim:
        house = House(folder=tmp_path, sim=sim)
        first, second, *_ = house.settle_in(5, seed=1, settings=QUICK)
        spelled = f"+86 {first[:3]} {first[3:7]} {first[7:]}"
        assert await told(house, "optouts", "add", spelled, second, "--reason", "by phone") == {"added": 2, "known": 0}
        assert await told(house, "optouts", "import", str(tmp_path / "list.csv")) == {"added": 3, "known": 2}
        assert await told(house, "optouts", "remove", second) == {"removed": 1}
        listed = await told(house, "optouts", "list")
        assert [each["number"] for each in listed] == [first, *mobiles(5, 1)[2:]]
        assert [each["source"] for each in listed] == ["operator", "import", "import", "import"]
        assert (listed[0]["reason"], listed[1]["reason"]) == ("by phone", "imported from list.csv")
        assert all(each["at"].endswith("+00:00") for each in listed)


async def test_opt_outs_have_a_scope_a_reason_to_go_and_a_way_out_and_in(tmp_path: Path) -> None:
    async with Simulator() as sim:
        house = House(folder=tmp_path, sim=sim)
        settings = QUICK + f'[accounts.north]\nurl = "{sim.url}"\nuserid = "34"\naccount = "north"\n'
        first, second, third, *_ = house.settle_in(5, seed=1, settings=settings)
        await told(house, "optouts", "add", first, "--scope", "all", "--reason", "=everywhere")
        await told(house, "optouts", "add", second, third)
        north = await told(house, "optouts", "list", "--account", "north")
        assert [(each["number"], each["scope"]) for each in north] == [(first, "all")]
        both = ("optouts", "remove", first, third, "--reason", "came back")
        assert await told(house, *both) == {"removed": 1}  # who opted out from every account stays out
        kept = [each["number"] for each in await told(house, "optouts", "list")]
        assert kept == [first, second]
        file = tmp_path / "out.csv"
        end = await ended(await house.start("optouts", "export", str(file)))
        assert (end.code, file.stat().st_mode & 0o777) == (0, 0o600), end.errors
        assert "'=everywhere" in file.read_text("utf-8-sig")  # harmless in a spreadsheet
        back = await told(house, "optouts", "import", str(file), "--account", "north")
        assert back == {"added": 2, "known": 0}
        with closing(sqlite3.connect(house.journal)) as journal:
            removed = "SELECT mobile, removed_because FROM opt_out WHERE removed_at IS NOT NULL"
            because = journal.execute(removed).fetchall()
        assert because == [(third, "came back")]


async def test_words_of_the_settings_are_opt_outs_and_may_count_for_every_account(tmp_path: Path) -> None:
    async with Simulator() as sim:
        house = House(folder=tmp_path, sim=sim)
        rules = '[tracking]\nopt_out_words = ["STOP"]\nopt_out_scope = "all"\n'
        numbers = house.settle_in(3, seed=1, settings=QUICK + rules)
        sim.plant_uplink(numbers[0], "stop！")
        sim.plant_uplink(numbers[1], "R")
        await told(house, "track", "--once")
        listed = await told(house, "optouts", "list")
        assert [(each["number"], each["scope"], each["reason"]) for each in listed] == [(numbers[0], "all", "stop！")]


async def test_track_once_reads_to_the_end_and_status_has_the_delivery(tmp_path: Path) -> None:
    async with Simulator(SimulatorSettings(report_delay_s=0, undelivered=0.5)) as sim:
        house = House(folder=tmp_path, sim=sim)
        numbers = house.settle_in(1_200, seed=1, settings=QUICK)
        assert (await ended(await house.begin_sending())).code == 0
        sim.plant_uplink(numbers[0], "退订")
        tally = await told(house, "track", "--once")
        assert (tally["records"], tally["opt_outs"], tally["lost"]) == (1_201, 1, 0)
        delivery = (await told(house, "status", "spring"))["delivery"]
        assert sum(delivery.values()) == 1_200
        assert min(delivery["delivered"], delivery["undelivered"]) > 400


@pytest.mark.parametrize(
    ("settings", "code"),
    [(SimulatorSettings(reports_allowed=False), 5), (SimulatorSettings(faults={"drop_poll": 1}), 75)],
)
async def test_the_exit_code_says_what_stands_in_the_way(
    tmp_path: Path, settings: SimulatorSettings, code: int
) -> None:
    async with Simulator(settings) as sim:
        house = House(folder=tmp_path, sim=sim)
        house.settle_in(1, seed=1, settings=QUICK)
        end = await ended(await house.start("track", "--once"))
        assert end.code == code, end.errors


async def test_track_owns_the_journal_until_it_is_stopped(tmp_path: Path) -> None:
    async with Simulator() as sim:
        house = House(folder=tmp_path, sim=sim)
        house.settle_in(1, seed=1, settings=QUICK)
        tracking = await house.start("track")
        assert tracking.stderr is not None
        assert b"Ctrl-C" in await tracking.stderr.readline()
        second = await ended(await house.start("track"))
        assert (second.code, str(tracking.pid) in second.errors) == (75, True)
        tracking.send_signal(signal.SIGTERM)
        assert (await ended(tracking)).code == 128 + signal.SIGTERM
