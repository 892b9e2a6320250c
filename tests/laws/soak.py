"""python -m tests.laws.soak: every fault alone and all together, over many seeds, as a table.

Each run is a real sender against a real simulator; what counts is the simulator's truth.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.simulator import Fault, Simulator, SimulatorSettings
from tests.laws.house import Ended, House, complaints, told

ROWS, BATCH, ALONE, TOGETHER = 20_000, 100, 0.05, 0.02
AT_ONCE = 3
ROUNDS = 12  # of `run` and `settle` after the first end; a campaign that refusals pause needs many
MOST_IN_VAIN = 2  # reports may still be on their way: a `settle` takes longer than they do
MIN_AGE_S = 3.0

_SETTINGS = """[pace]
requests_per_second = 0
[timeouts]
connect_s = 2
answer_s = {answer_s}
grace_s = 1
[retry]
attempts = 10
wait_s = 0.1
[breaker]
refusals = 50
[tracking]
enabled = {tracking}
report_interval_s = 0.5
reply_interval_s = 2
[batch]
max_recipients = {batch}
"""
_GATEWAY: dict[str, Any] = {"hang_s": 1.6, "refuse_s": 0.05, "latency_s": 0.002, "report_delay_s": 0.3}
_LOST = {Fault.DROP_ANSWER: 0.03, Fault.RESET_BEFORE: 0.02}
_TIMED_OUT = {Fault.HANG_ACCEPT: 0.02, Fault.HANG_LOST: 0.02, Fault.HANG_THEN_ACCEPT_LATE: 0.01}
_MIXED = {
    Fault.DROP_ANSWER: 0.02,
    Fault.RESET_BEFORE: 0.01,
    Fault.HANG_ACCEPT: 0.01,
    Fault.HANG_LOST: 0.005,
    Fault.HALF_ANSWER: 0.005,
}
_PAUSES = {fault for fault in Fault if fault.value.startswith("faild_") and "other" not in fault.value}
"""Refusals: they pause a campaign, or end a batch, and leave no doubt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of weather. `least`: the share of its doubts that must settle without a person, None: it is only printed."""

    name: str
    faults: Mapping[Fault, float]
    gateway: Mapping[str, Any] = field(default_factory=dict)
    tracking: bool = True
    account: str = ""  # more keys of [account]
    planted: bool = False  # old unread reports for the same people wait at the gateway
    least: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one run, or several, came to. `twice`, `lost` and `wrong` count numbers, numbers and batches."""

    doubts: int = 0
    by_reports: int = 0
    by_balance: int = 0
    left: int = 0
    twice: int = 0
    lost: int = 0
    wrong: int = 0
    claimed: int = 0  # said to be finished while something was open
    faults: int = 0  # lines of the senders that only a fault of ours explains
    settle_s: float = 0.0  # the longest time from giving up to the end of a doubt

    @property
    def settled(self) -> float:
        """The share of the doubts that ended without a person."""
        return 1.0 if not self.doubts else 1 - self.left / self.doubts

    @property
    def is_clean(self) -> bool:
        """Nobody twice, nobody lost, nothing wrong."""
        return not (self.twice or self.lost or self.wrong or self.claimed or self.faults)

    def __add__(self, other: Ran) -> Ran:
        counts = ("doubts", "by_reports", "by_balance", "left", "twice", "lost", "wrong", "claimed", "faults")
        summed = {name: getattr(self, name) + getattr(other, name) for name in counts}
        return replace(self, **summed, settle_s=max(self.settle_s, other.settle_s))


CASES = (
    *(Case(name=fault.value, faults={fault: ALONE}) for fault in Fault),
    Case(name="lost answers only", faults=_LOST, least=0.99),
    Case(name="lost answers, no reports", faults=_LOST, tracking=False, least=0.95),
    Case(name="answers that time out", faults=_TIMED_OUT),
    Case(name="answers that time out, no reports", faults=_TIMED_OUT, tracking=False),
    Case(name="all together", faults=dict.fromkeys(set(Fault) - _PAUSES, TOGETHER)),
    Case(name="shared account", faults=_MIXED, gateway={"foreign_per_s": 20.0}, account="exclusive = false"),
    Case(name="foreign spending on an exclusive account", faults=_MIXED, gateway={"foreign_per_s": 5.0}),
    Case(name="postpaid", faults=_MIXED, gateway={"prepaid": False}),
    Case(name="balance lags behind", faults=_MIXED, gateway={"balance_lag_s": 0.08}),
    Case(name="remainpoint lags behind", faults=_MIXED, gateway={"remainpoint_lag_s": 0.05}),
    Case(name="remainpoint means nothing", faults=_MIXED, gateway={"remainpoint_lag_s": 1e6}),
    Case(name="top-up in the middle", faults=_MIXED, gateway={"top_up_at_request": 100}),
    Case(name="refunds", faults=_MIXED, gateway={"refunds": True, "undelivered": 0.2}),
    Case(
        name="reports late, repeated, reordered",
        faults=_MIXED,
        gateway={"late": 0.3, "late_s": 5.0, "repeated": 0.3, "reordered": 0.3, "interim": 0.2},
    ),
    Case(name="old unread reports", faults=_MIXED, planted=True),
)


async def run_case(case: Case, seed: int, folder: Path, *, rows: int = ROWS, batch: int = BATCH) -> Ran:
    """Send one campaign in this weather, go on as long as it goes on, and hold it against the truth."""
    async with Simulator(SimulatorSettings(seed=seed, faults=case.faults, **{**_GATEWAY, **case.gateway})) as sim:
        house = House(folder=folder, sim=sim)
        # Where a share must settle nothing hangs, and what a busy machine holds up is no doubt of another kind.
        answer_s = 0.8 if case.least is None else 30
        settings = _SETTINGS.format(tracking=str(case.tracking).lower(), batch=batch, answer_s=answer_s)
        patience = f"[settlement]\nmin_age_s = {MIN_AGE_S}\nbalance_settle_s = 0.1"
        numbers = house.settle_in(rows, seed=seed, settings=settings, patience=patience, account=case.account)
        if case.planted:
            sim.plant_reports(numbers[::2])
        end = await told(await house.begin_sending())
        said = complaints(end)
        in_vain = 0  # how often in a row `settle` ended no doubt
        for _ in range(ROUNDS):
            if end.code not in (4, 75) or in_vain == MOST_IN_VAIN:
                break
            if end.code == 75:
                sim.set_faults({fault: share for fault, share in case.faults.items() if fault not in _PAUSES})
            was = end
            end = await told(await house.start("run" if end.code == 75 else "settle", "spring"))
            said += complaints(end)
            in_vain = in_vain + 1 if was.code == end.code == 4 and _in_doubt(was) == _in_doubt(end) else 0
        assert end.output, end.errors
        for line in said:
            print(f"{case.name}, seed {seed}: {line}", file=sys.stderr)
        return replace(_held_against(house, sim.truth(), end.status), faults=len(said))


def _in_doubt(end: Ended) -> int:
    recipients: dict[str, int] = end.status["recipients"]
    return recipients["in_doubt"]


def _held_against(house: House, truth: dict[str, object], status: dict[str, Any]) -> Ran:
    accepted: dict[str, int] = truth["mobiles"]  # type: ignore[assignment]
    states = house.states()
    is_open = bool(
        status["recipients"]["in_doubt"] + status["recipients"]["planned"] + status["recipients"]["in_flight"]
    )
    with closing(sqlite3.connect(f"file:{house.journal}?mode=ro", uri=True)) as journal:
        doubts = journal.execute(
            "SELECT settled_by, evidence, settled_at - finished_at, mobiles, state FROM attempt "
            "JOIN batch ON batch.id = batch_id WHERE outcome = 'in_doubt'"
        ).fetchall()
        unknown = journal.execute("SELECT mobiles FROM batch WHERE state = 'accepted'").fetchall()
    by = [settled_by for settled_by, *_ in doubts]
    nobody = [mobiles for (mobiles,) in unknown if accepted.keys().isdisjoint(mobiles.split(","))]
    covering = {"accepted", "in_doubt"}
    return Ran(
        doubts=len(doubts),
        by_reports=by.count("report"),
        by_balance=by.count("balance"),
        left=by.count(None),
        twice=sum(times > 1 for times in accepted.values()),
        # Accepted here, by nobody there; and accepted there, not known here.
        lost=sum(len(mobiles.split(",")) for mobiles in nobody)
        + sum(states.get(mobile) not in covering for mobile in accepted),
        wrong=len(nobody),
        claimed=int(status["state"] == "finished" and is_open),
        settle_s=max((took / 1e6 for _, _, took, *_ in doubts if took is not None), default=0.0),
    )


async def run_all(
    cases: Sequence[Case], seeds: Sequence[int], *, rows: int = ROWS, batch: int = BATCH
) -> dict[str, Ran]:
    """Every case with every seed, a few at a time."""
    at_once = asyncio.Semaphore(AT_ONCE)
    found: dict[str, Ran] = {case.name: Ran() for case in cases}

    async def one(case: Case, seed: int) -> None:
        async with at_once:
            with tempfile.TemporaryDirectory() as folder:
                ran = await run_case(case, seed, Path(folder), rows=rows, batch=batch)
        if not ran.is_clean:
            print(f"NOT CLEAN: {case.name}, seed {seed}: {ran}", file=sys.stderr)
        found[case.name] += ran

    async with asyncio.TaskGroup() as group:
        for seed in seeds:
            for case in cases:
                group.create_task(one(case, seed))
    return found


def table(found: Mapping[str, Ran]) -> str:
    """The results for people."""
    lines = [
        f"{'weather':<42} {'doubts':>7} {'reports':>8} {'balance':>8} {'left':>5} {'settled':>8} {'slowest':>8}  verdict"
    ]
    for name, ran in found.items():
        verdict = (
            "clean"
            if ran.is_clean
            else f"TWICE {ran.twice} LOST {ran.lost} WRONG {ran.wrong} CLAIMED {ran.claimed} FAULTS {ran.faults}"
        )
        lines.append(
            f"{name:<42} {ran.doubts:>7} {ran.by_reports:>8} {ran.by_balance:>8} {ran.left:>5} {ran.settled:>8.1%} "
            f"{ran.settle_s:>6.1f} s  {verdict}"
        )
    return "\n".join(lines)


def short_of(found: Mapping[str, Ran], *, chance: float = 0.0) -> list[str]:
    """The cases that are not clean, or settle less than they must. `chance`: what so few seeds may fall short of the share."""
    wanted = {case.name: case.least - chance for case in CASES if case.least is not None}
    return [name for name, ran in found.items() if not ran.is_clean or ran.settled < wanted.get(name, 0.0)]


def main() -> int:
    """Run the soak and print its table. Exit code 1 when something was not clean or too little settled."""
    parser = argparse.ArgumentParser(prog="python -m tests.laws.soak")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES])
    words = parser.parse_args()
    seeds = range(words.first, words.first + words.seeds)
    begun = time.monotonic()
    found = asyncio.run(
        run_all([case for case in CASES if not words.case or case.name in words.case], seeds, rows=words.rows)
    )
    print(table(found))
    print(f"seeds {seeds[0]} to {seeds[-1]}, {words.rows:,} recipients each, {time.monotonic() - begun:,.0f} s")
    return 1 if short_of(found) else 0


if __name__ == "__main__":
    sys.exit(main())
