"""Days of a campaign through the whole engine in seconds: a real journal, the simulator on a real socket, virtual time.

The machine sleeps, its clock is set, nights and a weekend pass, and in the end the campaign's time is over. When each request
came is the simulator's truth, by the same clock on the wall.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from engine.clock import Clocks
from engine.ledger.audit import Truth
from engine.ledger.summary import CampaignSummary
from engine.library import Engine
from engine.model import CampaignState
from engine.orders.conduct import Wish
from engine.runs.auditing import audit_campaign
from engine.runtime import Engine as Machinery
from engine.settings import Settings, load_settings
from engine.simulator import Simulator, SimulatorSettings
from tests.dispatch import virtual
from tests.numbers import mobiles

CHINA = timezone(timedelta(hours=8))
THURSDAY = datetime(2026, 3, 5, 7, 40, tzinfo=CHINA)
MONDAY = datetime(2026, 3, 9, tzinfo=CHINA)
EXPIRES = MONDAY.replace(hour=10, minute=15)
HOURS = [(time(8, 30), time(12)), (time(13, 30), time(20))]
FAST = 480
"""The clock on the wall shows eight minutes for each second of the engine: a night has 94 of its looks, and not 45,000."""
PACE_S = 1.25
"""From one request to the next."""
BATCHES, SIZE = 200, 3
NAP = timedelta(minutes=23)
AWAKE_S = 1.0


def is_open(at: datetime) -> bool:
    """Whether the campaign may send then, in the plainest words."""
    local = at.astimezone(CHINA)
    return local.weekday() < 5 and any(begin <= local.time() < end for begin, end in HOURS) and local < EXPIRES


class Machine:
    """A machine's clocks over virtual time. It can sleep, and somebody sets its clock. Spans are those of the wall."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._set, self._slept = timedelta(0), timedelta(0)
        self.clocks = Clocks(wall=self.wall, passing=self.passing, monotonic=self._loop.time)

    def wall(self) -> datetime:
        return (THURSDAY + FAST * timedelta(seconds=self._loop.time()) + self._slept + self._set).astimezone(UTC)

    def passing(self) -> float:
        return 1_000 + self._loop.time() + self._slept.total_seconds() / FAST

    def sleep(self, span: timedelta) -> None:
        """Suspended for so long."""
        self._slept += span

    def set_by(self, span: timedelta) -> None:
        """Somebody sets the clock on the wall."""
        self._set += span

    def set_to(self, at: datetime) -> None:
        self._set += at - self.wall()

    async def sleeps_through_closed_hours(self) -> None:
        """Nights pass in naps, with moments in between in which the engine looks."""
        while True:
            await asyncio.sleep(AWAKE_S)
            if not is_open(self.wall()):
                self.sleep(NAP)


Stroke = Callable[[Machine], None]
Strokes = Mapping[int, Stroke]


@contextmanager
def struck(machine: Machine, strokes: Strokes) -> Iterator[list[int]]:
    """While the disk writes the n-th intent, and its request has not left, the stroke of that number falls.

    Yields the numbers of those that fell. Looks at journals that are opened in the block.
    """
    fallen: list[int] = []
    intents, is_intent = 0, False

    def executes(statement: str) -> None:
        nonlocal intents, is_intent
        is_intent |= statement.startswith("INSERT INTO attempt")
        if statement != "COMMIT" or not is_intent:
            return
        intents, is_intent = intents + 1, False
        if intents in strokes:
            strokes[intents](machine)
            fallen.append(intents)

    def watched(connection: object, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):  # the one that writes
            connection.set_trace_callback(executes)

    event.listen(Pool, "connect", watched)
    try:
        yield fallen
    finally:
        event.remove(Pool, "connect", watched)


def sets(day: int, hour: int, minute: int, second: float = 0) -> Stroke:
    """Somebody sets the clock to that time of a day in March."""
    whole = int(second)
    at = THURSDAY.replace(day=day, hour=hour, minute=minute, second=whole, microsecond=round((second - whole) * 1e6))
    return lambda machine: machine.set_to(at)


def steps(**span: float) -> Stroke:
    """The clock is put right by so much."""
    return lambda machine: machine.set_by(timedelta(**span))


def suspends(**span: float) -> Stroke:
    """The machine sleeps for so long."""
    return lambda machine: machine.sleep(timedelta(**span))


BY_HAND: Strokes = {
    3: steps(seconds=0.4),
    5: steps(seconds=-2),
    7: suspends(minutes=25),
    12: sets(5, 12, 0),  # the very end of a window
    15: sets(5, 11, 0),  # back into the morning
    26: sets(5, 13, 0),  # back over noon, to where it is closed
    30: suspends(hours=9),  # far into the night
    36: sets(5, 23, 50),  # back before the midnight that has passed
    45: sets(7, 10, 0),  # into the weekend
    50: sets(6, 15, 0),  # back into Friday
    60: steps(days=-3),
    70: sets(6, 19, 59, 59.9),  # a moment of a window
    74: suspends(days=2),  # over the end of its time
}
OVER_ITS_END: Strokes = {20: sets(6, 8, 29, 59), 40: sets(9, 9, 40), 41: sets(9, 10, 15)}


def drawn(seed: int) -> Strokes:
    """Strokes at random, a third of them back."""
    chance = random.Random(seed)
    kinds = [suspends, steps, lambda **span: steps(**{unit: -amount for unit, amount in span.items()})]
    return {
        intent: chance.choice(kinds)(seconds=chance.choice([0.5, 30, 600, 7_200, 30_000]) * chance.uniform(0.5, 1.5))
        for intent in range(5, BATCHES, 7)
    }


def settings_of(folder: Path, sim: Simulator) -> Settings:
    given: dict[str, object] = {
        "account.url": sim.url,
        "account.password": "demo",
        "journal.url": folder / "xinshi.db",
        "pace.requests_per_second": 1 / PACE_S,
        "pace.in_flight": 4,
        "batch.max_recipients": SIZE,
        "settlement.min_age_s": 5,
        "settlement.balance_settle_s": 1,
        "hours.window": ["Mon-Fri 08:30-12:00,13:30-20:00"],
    }
    return load_settings(None, overrides=given, environ={"HOME": str(folder), "XDG_STATE_HOME": str(folder)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """What became of it all."""

    people: list[str]
    summary: CampaignSummary
    truth: dict[str, Any]
    fallen: list[int]  # strokes
    too_late: int  # intents whose hours ended before the request left
    is_proved: bool

    @property
    def arrived(self) -> list[datetime]:
        """When requests arrived, in China."""
        return [datetime.fromtimestamp(send["at"], CHINA) for send in self.truth["sends"]]


async def lived(folder: Path, strokes: Strokes) -> Lived:
    """From Thursday morning to the end of the campaign's time, and the mornings after."""
    machine, people = Machine(), mobiles(BATCHES * SIZE)
    how = SimulatorSettings(latency_s=0.1, seed=1)
    async with Simulator(how, wall=lambda: machine.wall().timestamp(), monotonic=machine.clocks.monotonic) as sim:
        settings = settings_of(folder, sim)
        with struck(machine, strokes) as fallen:
            async with Machinery.open(settings, "default", clocks=machine.clocks) as machinery:
                campaign = await Engine(machinery).plan(people, text="【测试】春季新品到店", name="spring")
                record = await machinery.journal.find_campaign(name="spring")
                assert record is not None
                await machinery.decide(record, Wish(at=machine.wall(), expire=f"{EXPIRES:%Y-%m-%d %H:%M}"))
                nights = asyncio.create_task(machine.sleeps_through_closed_hours())
                await campaign.run()
                nights.cancel()
                requests = sim.truth()["requests"]
                for morning in (MONDAY.replace(hour=9), MONDAY.replace(day=10, hour=9)):  # set back, and the next one
                    machine.set_to(morning)
                    summary = await campaign.run()
                assert sim.truth()["requests"] == requests
        truth = sim.truth()
        told = Truth(mobiles=truth["mobiles"], charges=Decimal(str(truth["charges"])))  # type: ignore[arg-type]
        audited = await audit_campaign(settings, "default", "spring", truth=told)
    return Lived(
        people=people,
        summary=summary,
        truth=truth,
        fallen=fallen,
        too_late=too_late(settings.journal_path),
        is_proved=audited.all_hold,
    )


def too_late(journal: Path) -> int:
    """How many attempts were taken back at the last moment."""
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as looking:
        query = "SELECT count(*) FROM attempt WHERE outcome = 'not_sent' AND reason LIKE '%its hours ended%'"
        return int(looking.execute(query).fetchone()[0])


def check(life: Lived) -> None:
    """Everything came within the hours and once; what had not gone when its time was over is expired, and stays so."""
    assert [at.isoformat() for at in life.arrived if not is_open(at)] == []
    assert set(life.truth["mobiles"].values()) == {1}
    assert set(life.truth["mobiles"]) <= set(life.people)
    recipients = life.summary.recipients
    assert (life.summary.state, life.summary.reasons) == (CampaignState.FINISHED, ())
    assert (recipients["accepted"], recipients["in_doubt"]) == (life.truth["accepted_numbers"], 0)
    assert recipients["accepted"] + recipients["expired"] == len(life.people)
    assert recipients["expired"] > 0
    assert life.is_proved


def test_it_sends_in_every_window_up_to_its_end_and_the_rest_expires(tmp_path: Path) -> None:
    life = virtual.run(lived(tmp_path, {}))
    check(life)
    windows = Counter((at.day, at.hour > 12) for at in life.arrived)
    assert list(windows) == [(5, False), (5, True), (6, False), (6, True), (9, False)]
    fit = [timedelta(hours=hours) // (PACE_S * FAST * timedelta(seconds=1)) for hours in (3.5, 6.5, 3.5, 6.5, 1.75)]
    assert all(0.8 * most < found <= most + 2 for found, most in zip(windows.values(), fit, strict=True))


@pytest.mark.parametrize("strokes", [BY_HAND, OVER_ITS_END], ids=["by hand", "over its end"])
def test_a_clock_that_jumps_between_an_intent_and_its_request_lets_nothing_out(
    tmp_path: Path, strokes: Strokes
) -> None:
    life = virtual.run(lived(tmp_path, strokes))
    check(life)
    assert life.fallen == list(strokes)
    assert life.too_late > 0


@pytest.mark.parametrize("seed", [1])
def test_whatever_the_clock_does_the_laws_hold(tmp_path: Path, seed: int) -> None:
    life = virtual.run(lived(tmp_path, drawn(seed)))
    check(life)
    assert len(life.fallen) >= 5
