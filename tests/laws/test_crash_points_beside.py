"""SIGKILL at every step of the commands beside the sending: one kill after the other, then the usual next command, then the laws.

The places are found by a first run that logs them, as in test_crash_points.py.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from engine.simulator import Simulator, SimulatorSettings
from tests.laws.house import TEXT, Ended, House, ended
from tests.numbers import mobiles

ROWS = 90
_SMALL = "[pace]\nrequests_per_second = 0\nin_flight = 3\n[batch]\nmax_recipients = 10\n"


@asynccontextmanager
async def a_house(folder: Path, **settings: Any) -> AsyncIterator[House]:
    folder.mkdir()
    async with Simulator(SimulatorSettings(seed=8, report_delay_s=0, **settings)) as sim:
        house = House(folder=folder, sim=sim)
        house.settle_in(ROWS, seed=31, settings=_SMALL)
        yield house


async def done(house: House, *words: str, crash: str | None = None) -> Ended:
    return await ended(await house.start(*words, crash=crash))


async def sent(house: House) -> None:
    end = await ended(await house.begin_sending())
    assert end.code == 0, end.errors


async def places_of(house: House, *words: str) -> list[str]:
    """The places that a command passes, each once, in their order."""
    log = house.folder / "places"
    end = await done(house, *words, crash=f"log:{log}")
    assert end.code in (0, 75), end.errors  # 75: settled, and there is more to send
    return list(dict.fromkeys(log.read_text().splitlines()))


async def killed_at(house: House, place: str, *words: str) -> None:
    assert (await done(house, *words, crash=f"kill:{place}:1")).code == -9, place


async def check_audit(house: House) -> None:
    end = await done(house, "audit", "spring")
    assert end.code == 0, [law for law in end.status["laws"] if not law["holds"]]


def rows(house: House, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{house.journal}?mode=ro", uri=True)) as journal:
        return journal.execute(query).fetchall()


async def test_track_killed_anywhere_loses_no_more_than_it_tells(tmp_path: Path) -> None:
    async with a_house(tmp_path / "first") as house:
        await sent(house)
        house.sim.plant_uplink(mobiles(ROWS, seed=31)[0], "T")
        places = await places_of(house, "track", "--once")
    assert len(places) >= 9
    async with a_house(tmp_path / "then") as house:
        await sent(house)
        people = mobiles(ROWS, seed=31)[: len(places)]
        for person, place in zip(people, places, strict=True):
            house.sim.plant_uplink(person, "T")
            await killed_at(house, place, "track", "--once")
        # The next command is another send of the same list: not one more word to whoever opted out, as far as we were told.
        words = ("send", str(house.folder / "list.csv"), "--text", TEXT, "--campaign", "autumn", "--again", "--yes")
        last = await done(house, *words)
        assert last.code == 0, last.errors
        out = {each["number"] for each in json.loads((await done(house, "optouts", "list")).output)}
        assert rows(house, "SELECT count(*) FROM poll WHERE outcome = 'answered' AND applied_at IS NULL") == [(0,)]
        kept = b"".join(
            zlib.decompress(body) for (body,) in rows(house, "SELECT body FROM poll WHERE body IS NOT NULL")
        )
        assert out == {person for person in people if person.encode() in kept} != set()
        ((lost,),) = rows(house, "SELECT count(*) FROM poll WHERE outcome = 'lost' AND kind = 'reply'")
        assert bool(lost) == (out < set(people))
        twice = {mobile for mobile, times in house.sim.truth()["mobiles"].items() if times > 1}  # type: ignore[attr-defined]
        assert twice == set(mobiles(ROWS, seed=31)) - out
        for campaign in ("spring", "autumn"):
            end = await done(house, "audit", campaign)
            assert end.code == 0, end.output


async def test_settle_killed_anywhere_ends_every_doubt_once(tmp_path: Path) -> None:
    async with a_house(tmp_path / "first") as house:
        await in_doubt(house)
        places = await places_of(house, "settle", "spring")
    assert {place.split()[0] for place in places} >= {"record_readings", "settle"}
    async with a_house(tmp_path / "then") as house:
        await in_doubt(house)
        killed = 0
        for place in places:
            end = await done(house, "settle", "spring", crash=f"kill:{place}:1")
            killed += end.code == -9  # what the next one still has to do depends on what the last one has done
            house.check_laws(at_rest=True)
        assert killed >= 6
        last = await done(house, "run", "spring")
        assert last.code == 0, last.errors
        assert last.status["recipients"]["accepted"] == ROWS
        assert last.status["points"]["charged"] == ROWS
        house.check_laws(at_rest=True)
        await check_audit(house)


async def in_doubt(house: House) -> None:
    """A send that was killed with what was in flight, after some that tell the price; only the balance can tell of it."""
    alone = _SMALL.replace("in_flight = 3", "in_flight = 1") + "[tracking]\nenabled = false\n"
    house.settle_in(ROWS, seed=31, settings=alone)
    first = await ended(await house.begin_sending(crash="kill:record_outcomes begun:5"))
    assert first.code == -9
    assert rows(house, "SELECT count(*) FROM batch WHERE state = 'submitting'") != [(0,)]


async def test_an_addition_killed_anywhere_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    more = mobiles(30, seed=32)
    words = ("send", "more.csv", "--add-to", "spring", "--yes", "--keep-points", "7")

    async def begun(house: House) -> tuple[str, ...]:
        await sent(house)
        (house.folder / "more.csv").write_text("手机号\n" + "\n".join(more) + "\n", encoding="utf-8")
        return tuple(str(house.folder / word) if word == "more.csv" else word for word in words)

    async with a_house(tmp_path / "first") as house:
        places = await places_of(house, *await begun(house))
    planning = places[: places.index("merge committed") + 1]
    assert len(planning) >= 9
    async with a_house(tmp_path / "then") as house:
        order = await begun(house)
        for place in planning:
            await killed_at(house, place, *order)
            ((count, keep),) = rows(house, "SELECT recipients, keep_points FROM campaign WHERE name = 'spring'")
            is_whole = place == "merge committed"
            assert (count, keep is not None) == (ROWS + 30 * is_whole, is_whole), place
            house.check_laws(at_rest=False)
        last = await done(house, "run", "spring")
        assert last.code == 0, last.errors
        assert last.status["recipients"]["accepted"] == ROWS + len(more)
        house.check_laws(at_rest=True)
        await check_audit(house)


async def test_an_opt_out_killed_anywhere_is_whole_when_it_is_said_again(tmp_path: Path) -> None:
    async with a_house(tmp_path / "house") as house:
        house.settle_in(ROWS, seed=31, settings=_SMALL)
        people = mobiles(ROWS, seed=31)[:5]
        for place in ("add_opt_outs begun", "add_opt_outs written", "add_opt_outs committed"):
            await killed_at(house, place, "optouts", "add", *people)
            is_whole = place == "add_opt_outs committed"
            assert rows(house, "SELECT count(*) FROM opt_out") == [(5 * is_whole,)], place
        assert (await done(house, "optouts", "add", *people)).status == {"added": 0, "known": 5}
        await sent(house)
        assert house.sim.truth()["mobiles"].keys() == set(mobiles(ROWS, seed=31)) - set(people)  # type: ignore[attr-defined]
        await check_audit(house)
