"""A run interrupted at every one of its steps, in every way there is: then the laws must hold, and the next run ends it."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.dispatch.pool import PoolEnd
from engine.journal.store import SqlJournal
from engine.model import Outcome
from tests.dispatch.house import DOUBT, NOT_SENT, THROTTLED, Call, Gateway, Run, accepted, crowded
from tests.dispatch.virtual import VirtualLoop
from tests.journal.stores import SqlitePlace, outcomes, planned, states

SIZES = (2, 3, 1, 4, 2)


class SteppedLoop(VirtualLoop):
    """Counts its turns and can do something before one of them. What a thread would do is done at once, so a turn is a step."""

    def __init__(self) -> None:
        super().__init__()
        self.turn, self.at, self.then = 0, 0, lambda: None

    def _run_once(self) -> None:
        self.turn += 1
        if self.turn == self.at:
            self.then()
        super()._run_once()

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  it is the future's
            future.set_exception(error)
        return future


class Vendor:
    """The gateway's truth: what it took, whoever heard of it."""

    def __init__(self) -> None:
        self.taken: Counter[int] = Counter()
        self.sure: dict[int, bool] = {}  # whether the last request of a batch surely was not taken

    async def __call__(self, call: Call) -> Outcome:
        self.sure[call.seq] = False
        await asyncio.sleep(0)
        outcome = self._outcome(call)
        if outcome in (NOT_SENT, THROTTLED):
            self.sure[call.seq] = True
            await asyncio.sleep(0)
            return outcome
        self.taken[call.seq] += 1
        await asyncio.sleep(0)
        return outcome

    def _outcome(self, call: Call) -> Outcome:
        match call.seq, call.tries:
            case (1, 1):
                return NOT_SENT
            case (3, 1):
                return THROTTLED
            case (4, _):
                return DOUBT  # taken, and the answer was lost
        return accepted(call.size)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planned campaign, to be copied: making one costs more than running it."""
    place = SqlitePlace(tmp_path_factory.mktemp("template"))

    async def main() -> None:
        async with place.open() as journal:
            await planned(journal, *SIZES)

    asyncio.run(main())
    return place.path


def copy(journal: Path, folder: Path) -> SqlitePlace:
    """The files as they are at this moment, as a power cut would leave them."""
    folder.mkdir()
    for file in journal.parent.iterdir():
        if file.name in {"xinshi.db", "xinshi.db-wal"}:
            shutil.copy(file, folder)
    return SqlitePlace(folder)


Interrupt = Callable[[SteppedLoop, Run, "asyncio.Task[PoolEnd]"], None]


def cancel(loop: SteppedLoop, run: Run, task: asyncio.Task[PoolEnd]) -> None:
    task.cancel()


def cancel_twice(loop: SteppedLoop, run: Run, task: asyncio.Task[PoolEnd]) -> None:
    task.cancel()
    loop.call_soon(loop.call_soon, task.cancel)


def stop(loop: SteppedLoop, run: Run, task: asyncio.Task[PoolEnd]) -> None:
    run.stop.set()


def stop_now(loop: SteppedLoop, run: Run, task: asyncio.Task[PoolEnd]) -> None:
    run.stop_now.set()


async def interrupted(place: SqlitePlace, vendor: Vendor, interrupt: Interrupt, step: int, ahead: bool) -> bool:
    """Run a pool and interrupt it at this step. Returns whether there was such a step."""
    loop = asyncio.get_running_loop()
    async with place.open() as journal:
        lane = crowded(in_flight=2) if ahead else None
        run = Run(journal, Gateway(place, vendor), 1, in_flight=2, grace_s=1, lane=lane)
        task = run.start()
        loop.at, loop.then = loop.turn + step, lambda: interrupt(loop, run, task)
        await asyncio.wait([task])
        was = loop.turn >= loop.at
        loop.at = 0
        if not task.cancelled():
            task.result()
        check_left(place, vendor)
        return was


async def cut_at_every_step(
    place: SqlitePlace, vendor: Vendor, folder: Path, ahead: bool
) -> list[tuple[SqlitePlace, Vendor]]:
    """Run a pool to its end. Returns what a power cut would have left behind, for each of its steps."""
    loop = asyncio.get_running_loop()
    cuts: list[tuple[SqlitePlace, Vendor]] = []

    def cut() -> None:
        then = Vendor()
        then.taken, then.sure = Counter(vendor.taken), dict(vendor.sure)
        cuts.append((copy(place.path, folder / str(len(cuts))), then))
        loop.at += 1

    async with place.open() as journal:
        lane = crowded(in_flight=2) if ahead else None
        task = Run(journal, Gateway(place, vendor), 1, in_flight=2, grace_s=1, lane=lane).start()
        loop.at, loop.then = loop.turn + 1, cut
        await asyncio.wait([task])
        loop.at = 0
        task.result()
    return cuts


def check_left(place: SqlitePlace, vendor: Vendor) -> None:
    """What a run has left behind that could give back what it held: nobody waits for the next process to be sent to."""
    held = states(place)
    assert {"claimed", "submitting"}.isdisjoint(held.values()), held
    for seq, state in held.items():
        assert state != "in_doubt" or seq in vendor.sure, f"batch {seq} is in doubt and never left"


def check(place: SqlitePlace, taken: Counter[int], sure: dict[int, bool]) -> None:
    """The laws, between what the vendor knows and what the journal holds after a restart."""
    held = states(place)
    assert set(held) == set(range(1, len(SIZES) + 1))
    assert set(held.values()) <= {"planned", "accepted", "in_doubt"}
    for seq, state in held.items():
        assert taken[seq] <= 1, f"batch {seq} was taken twice"
        if taken[seq]:
            assert state in ("accepted", "in_doubt"), f"batch {seq} was taken and is {state}"
        if state == "accepted":
            assert taken[seq] == 1, f"batch {seq} is accepted and was never taken"
        if seq in sure and not sure[seq]:
            assert state in ("accepted", "in_doubt"), f"batch {seq} had left and is {state}"
    for seq, number, outcome in outcomes(place):
        last = number == max(n for s, n, _ in outcomes(place) if s == seq)
        assert last or outcome in ("not_sent", "not_taken"), f"batch {seq} left again after {outcome}"
    charged = place.rows("SELECT coalesce(sum(points), 0) / 10000 AS n FROM entry")[0]["n"]
    assert charged == sum(SIZES[seq - 1] for seq, state in held.items() if state == "accepted")


async def finished(place: SqlitePlace, vendor: Vendor) -> None:
    """The next process: it takes over and sends the rest."""
    async with place.open() as journal:
        check(place, vendor.taken, vendor.sure)
        await resumed(journal, place, vendor)
    check(place, vendor.taken, vendor.sure)
    assert "planned" not in states(place).values()


async def resumed(journal: SqlJournal, place: SqlitePlace, vendor: Vendor) -> None:
    assert await Run(journal, Gateway(place, vendor), 1, in_flight=2).to_its_end() == PoolEnd()


def left_behind(place: SqlitePlace, vendor: Vendor) -> tuple[str, ...]:
    """All that the next process goes by, at the vendor and in a journal, but for whose it was until when."""
    with closing(sqlite3.connect(f"file:{place.path}?mode=ro", uri=True)) as raw:
        rows = [line for line in raw.iterdump() if not line.startswith('INSERT INTO "owner"')]
    return (*rows, repr(sorted(vendor.taken.items())), repr(sorted(vendor.sure.items())))


@pytest.mark.parametrize("ahead", [False, True], ids=["each with its slot", "intents ahead"])
@pytest.mark.parametrize("interrupt", [cancel, cancel_twice, stop, stop_now], ids=lambda i: i.__name__)
def test_a_run_interrupted_at_any_step_loses_and_doubles_nothing(
    tmp_path: Path, template: Path, interrupt: Interrupt, ahead: bool
) -> None:
    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        step, was = 0, True
        seen: set[tuple[str, ...]] = set()  # many steps write nothing: what follows then was seen before
        while was:
            step += 1
            vendor = Vendor()
            place = copy(template, tmp_path / str(step))
            was = runner.run(interrupted(place, vendor, interrupt, step, ahead))
            if was:
                left = left_behind(place, vendor)
                if left in seen:
                    continue
                seen.add(left)
            runner.run(finished(place, vendor))
    assert step > 50
    assert states(place) == {seq: "in_doubt" if seq == 4 else "accepted" for seq in range(1, len(SIZES) + 1)}


@pytest.mark.parametrize("ahead", [False, True], ids=["each with its slot", "intents ahead"])
def test_a_power_cut_at_any_step_loses_and_doubles_nothing(tmp_path: Path, template: Path, ahead: bool) -> None:
    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        place, vendor = copy(template, tmp_path / "to its end"), Vendor()
        cuts = runner.run(cut_at_every_step(place, vendor, tmp_path, ahead))
        seen: set[tuple[str, ...]] = set()
        for left_place, left_vendor in (*cuts, (place, vendor)):
            left = left_behind(left_place, left_vendor)
            if left not in seen:
                seen.add(left)
                runner.run(finished(left_place, left_vendor))
    assert len(cuts) > 50
    assert len(seen) > 10
    assert states(place) == {seq: "in_doubt" if seq == 4 else "accepted" for seq in range(1, len(SIZES) + 1)}
