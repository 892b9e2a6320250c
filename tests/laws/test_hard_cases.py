"""The laws when the machine misbehaves: it stops, sleeps, runs out of disk, its clock is set, the gateway dies.

A disk that turns read-only in the middle is the same to SQLite as one that is full: a write fails and the reads go on. Both are
tested by a limit on the size of files, which needs no rights.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine.dispatch.pool import INTENT_GOOD_FOR_S, LEASE_S, PoolEnd
from engine.journal.store import SqlJournal
from engine.simulator import Fault, Simulator, SimulatorSettings
from tests import nursery
from tests.cli.desk import until
from tests.dispatch.house import Gateway, Run, at_once, when_told
from tests.journal.stores import SqlitePlace, planned, states
from tests.laws.house import Ended, House, ended
from tests.simulator.process import listening

ROWS, PEOPLE, SEED = 200, 2_000, 21
_SMALL = "[batch]\nmax_recipients = 10\n[retry]\nattempts = 10\nwait_s = 0.05\nwait_max_s = 0.2\n"
_FAST = _SMALL + "[pace]\nrequests_per_second = 0\nin_flight = 3\n"
_SLOW = _SMALL + "[pace]\nrequests_per_second = 10\nin_flight = 3\n"


async def a_house(folder: Path, sim: Any, settings: str = _SLOW, *, people: int = ROWS) -> House:
    house = House(folder=folder, sim=sim)
    house.settle_in(people, seed=SEED, settings=settings)
    return house


def rows(house: House, query: str) -> list[tuple[Any, ...]]:
    if not house.journal.exists() or not house.journal.stat().st_size:
        return []
    with closing(sqlite3.connect(f"file:{house.journal}?mode=ro", uri=True)) as journal:
        if not journal.execute("SELECT 1 FROM sqlite_master WHERE name = 'campaign'").fetchall():
            return []  # just being made
        return journal.execute(query).fetchall()


async def to_the_end(house: House) -> Ended:
    """Go on until nothing is left to be sent."""
    end = await ended(await house.start("run", "spring"))
    for _ in range(5):
        if end.code != 75:
            break
        end = await ended(await house.start("run", "spring"))
    return end


def all_is_well(house: House, end: Ended, *, people: int = ROWS) -> None:
    """Everybody once; a doubt that stays is said to stay."""
    recipients = end.status["recipients"]
    assert end.code == (4 if recipients["in_doubt"] else 0), end
    assert recipients["accepted"] + recipients["in_doubt"] == people
    assert recipients["in_doubt"] <= people * 0.3
    house.check_laws(at_rest=True)


# ── the process stops ────────────────────────────────────────────────────────────────────────────────────────────────


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def waits(process: nursery.Started) -> None:
    """Return when a command has nothing left to do but wait, as for the answer of a process that stands still."""
    asleep = 0
    while asleep < 40:  # whom a busy machine lets wait is not asleep
        asleep = asleep + 1 if state_of(process.pid) == "S" else 0
        await asyncio.sleep(0.025)


@pytest.mark.parametrize("place", ["record_intents committed:4", "request about to be written:9"])
async def test_a_process_that_stood_still_obeys_what_was_ordered_meanwhile_and_sends_nothing_twice(
    tmp_path: Path, place: str
) -> None:
    """It stops for longer than an intent is good for; the order waits for it at its socket."""
    async with Simulator(SimulatorSettings(seed=SEED)) as sim:
        house = await a_house(tmp_path, sim)
        process = await house.begin_sending(crash=f"stop:{place}")
        await until(lambda: state_of(process.pid) == "T")
        order = await house.start("pause", "spring")
        await asyncio.sleep(INTENT_GOOD_FOR_S + 0.5)  # what must pass is real time
        assert order.returncode is None
        process.send_signal(signal.SIGCONT)
        assert (await ended(order)).code == 0
        sent = len(sim.truth()["sends"])  # type: ignore[arg-type]
        assert sent < ROWS / 10
        await until(lambda: rows(house, "SELECT state FROM campaign") == [("paused",)])
        await asyncio.sleep(1)  # in which ten more would go
        assert len(sim.truth()["sends"]) <= sent + 3  # type: ignore[arg-type]  # what was in flight
        house.check_laws(at_rest=False)
        assert (await ended(await house.start("resume", "spring"))).code == 0
        end = await ended(process)
        all_is_well(house, end)


async def test_a_process_that_stood_still_obeys_a_cancellation_before_it_sends_anything_more(tmp_path: Path) -> None:
    async with Simulator(SimulatorSettings(seed=SEED)) as sim:
        house = await a_house(tmp_path, sim)
        process = await house.begin_sending(crash="stop:record_outcomes committed:3")
        await until(lambda: state_of(process.pid) == "T")
        order = await house.start("cancel", "spring")
        await asyncio.sleep(INTENT_GOOD_FOR_S + 0.5)
        process.send_signal(signal.SIGCONT)
        assert (await ended(order)).code == 0
        end = await ended(process)
        assert (end.code, end.status["state"]) == (3, "cancelled"), end.errors
        assert end.status["recipients"]["cancelled"] > 0
        house.check_laws(at_rest=True)


async def test_a_pause_that_comes_before_the_first_batch_left_holds(tmp_path: Path) -> None:
    """It stops while the opening balance is being entered."""
    async with Simulator(SimulatorSettings(seed=SEED)) as sim:
        house = await a_house(tmp_path, sim)
        process = await house.begin_sending(crash="stop:record_readings committed:1")
        await until(lambda: state_of(process.pid) == "T")
        order = await house.start("pause", "spring")
        await waits(order)
        process.send_signal(signal.SIGCONT)
        told = await ended(order)
        assert (told.code, told.status["done"]) == (0, True)
        await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=1.5)
        sent = len(sim.truth()["sends"])  # type: ignore[arg-type]
        if process.returncode is None:
            process.terminate()
        await ended(process)
        assert sent == 0


# ── the machine sleeps ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("slept_s", [INTENT_GOOD_FOR_S + 1, LEASE_S + 1, 8 * 3600.0])
async def test_after_a_suspend_every_claim_is_looked_at_again_and_every_batch_leaves_once(
    tmp_path: Path, slept_s: float
) -> None:
    """CLOCK_BOOTTIME has jumped; requests were in flight, and others waited for their turn."""
    place = SqlitePlace(tmp_path)

    async def sleeps(journal: SqlJournal) -> None:
        run = Run(journal, Gateway(place, when_told), await planned(journal, *[1] * 40))
        task = run.start()
        for number in range(2):  # they go alone
            (await run.gateway.reached(number + 1))[number].accept()
        in_flight = (await run.gateway.reached(6))[2:]
        run.clock.now_s += slept_s
        run.gateway.answer = at_once
        for call in in_flight:
            call.accept()
        assert await task == PoolEnd()
        assert Counter(run.gateway.seqs) == dict.fromkeys(range(1, 41), 1)

    async with place.open() as journal:
        await sleeps(journal)
    assert set(states(place).values()) == {"accepted"}


# ── the process that writes the journal ──────────────────────────────────────────────────────────────────────────────


def writer_of(pid: int) -> int:
    """Which of its children has the journal open."""
    (writer,) = [each for each in children_of(pid) if "xinshi.db-shm" in Path(f"/proc/{each}/maps").read_text()]
    return writer


async def test_a_writer_that_is_killed_alone_ends_the_run_and_the_next_one_finishes(tmp_path: Path) -> None:
    async with Simulator(SimulatorSettings(seed=SEED)) as sim:
        house = await a_house(tmp_path, sim)
        process = await house.begin_sending()
        await sim.wait_for_requests(6)
        os.kill(writer_of(process.pid), signal.SIGKILL)
        end = await ended(process)
        assert (end.code, "the process that writes the journal has ended" in end.errors) == (75, True), end
        assert "Traceback" not in end.errors
        house.check_laws(at_rest=False)
        assert 0 < sim.truth()["accepted_numbers"] < ROWS  # type: ignore[operator]
        all_is_well(house, await to_the_end(house))


async def test_a_writer_that_stands_still_while_its_owner_is_killed_is_not_overtaken(tmp_path: Path) -> None:
    async with Simulator(SimulatorSettings(seed=SEED)) as sim:
        house = await a_house(tmp_path, sim)
        process = await house.begin_sending()
        await sim.wait_for_requests(6)
        writer = writer_of(process.pid)
        os.kill(writer, signal.SIGSTOP)
        try:
            process.kill()
            await ended(process)
            (epoch,) = rows(house, "SELECT epoch FROM owner")
            overtaking = await ended(await house.start("run", "spring"))
            assert (overtaking.code, f"kill -KILL {writer}" in overtaking.errors) == (75, True), overtaking
            assert rows(house, "SELECT epoch FROM owner") == [epoch]
        finally:
            os.kill(writer, signal.SIGCONT)
        all_is_well(house, await to_the_end(house))


# ── the disk ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("after", [6])
async def test_a_disk_that_fills_up_while_sending_ends_the_run_with_words_and_the_next_one_finishes(
    tmp_path: Path, after: int
) -> None:
    async with Simulator(SimulatorSettings(seed=SEED)) as sim:
        house = await a_house(tmp_path, sim)
        process = await house.begin_sending()
        await sim.wait_for_requests(after)
        log = house.journal.with_name(house.journal.name + "-wal")
        for pid in (process.pid, *children_of(process.pid)):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (log.stat().st_size, resource.RLIM_INFINITY))
        end = await ended(process)
        assert (end.code, "disk" in end.errors) == (75, True), end
        assert "Traceback" not in end.errors
        house.check_laws(at_rest=False)
        assert 0 < sim.truth()["accepted_numbers"] < ROWS  # type: ignore[operator]
        all_is_well(house, await to_the_end(house))


# ── the gateway dies ─────────────────────────────────────────────────────────────────────────────────────────────────


class Remote:
    """A simulator in a process of its own, as a house needs it."""

    def __init__(self, url: str) -> None:
        self.url, self._truth = url, dict[str, Any]()

    def truth(self) -> dict[str, Any]:
        return self._truth

    async def ask(self) -> None:
        """Look at what it has taken."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/_simulator/truth") as answer:
            self._truth = json.loads(await answer.text())


async def test_a_gateway_that_dies_and_comes_back_takes_everybody_once(tmp_path: Path) -> None:
    words = ("--seed", str(SEED), "--state", str(tmp_path / "truth"))
    async with listening(*words) as mortal:
        remote, port = Remote(mortal.url), mortal.port
        house = await a_house(tmp_path, remote)
        process = await house.begin_sending()
        taken = "SELECT count(*) FROM attempt WHERE outcome = 'accepted'"
        await until(lambda: rows(house, taken) > [(4,)])
        await mortal.kill()
    async with listening(*words, "--port", port):
        end = await ended(process)
        assert end.code in (0, 4, 75), end.errors
        await remote.ask()
        house.check_laws(at_rest=True)
        end = end if end.code == 0 else await to_the_end(house)
        await remote.ask()
        all_is_well(house, end)
        assert remote.truth()["twice"] == 0


# ── the machine's clock ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("off", [("3600", "-3600")], ids=["forth and back"])
async def test_a_clock_that_is_set_by_an_hour_settles_nothing_wrongly_and_the_pace_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, off: tuple[str, str]
) -> None:
    """Two processes die with requests in flight; each next one finds the machine's clock an hour off."""
    lost = {Fault.DROP_ANSWER: 0.1, Fault.RESET_BEFORE: 0.1}
    async with Simulator(SimulatorSettings(seed=SEED, faults=lost, rate_limit=11)) as sim:
        house = await a_house(tmp_path, sim, _SLOW.replace("= 10\n[retry]", "= 100\n[retry]"), people=PEOPLE)
        first = await ended(await house.begin_sending(crash="kill:request written:5"))
        monkeypatch.setenv("_XINSHI_CLOCK", off[0])
        second = await ended(await house.begin_sending(crash="kill:request written:6"))
        assert (first.code, second.code) == (-9, -9), (SEED, second.errors)
        monkeypatch.setenv("_XINSHI_CLOCK", off[1])
        end = await to_the_end(house)
        all_is_well(house, end, people=PEOPLE)
        assert rows(house, "SELECT count(*) FROM attempt WHERE settled_by = 'balance'")[0][0] >= 2, SEED
        # Between any two attempts of one batch its patience passed, by whatever clock.
        again = rows(
            house,
            "SELECT two.started_at - one.finished_at FROM attempt one JOIN attempt two ON two.batch_id = one.batch_id "
            "AND two.number = one.number + 1 WHERE one.outcome = 'in_doubt' AND one.may_land_late",
        )
        assert all(waited >= 1_500_000 for (waited,) in again), SEED
        results = Counter(send["result"] for send in sim.truth()["sends"])  # type: ignore[attr-defined]
        assert results["rate_limited"] == 0, (SEED, results)
