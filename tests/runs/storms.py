"""python -m tests.runs.storms: whole runs under orders, stops and faults at once, by seed, held against the simulator's truth.

A real journal, the simulator on a real socket, virtual time: pauses, cancels, stops, limits, canaries, points that are to stay,
opt-outs and lost answers meet in one campaign, run after run.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from engine.clock import Clocks
from engine.errors import JournalBusy, PlanError, SendRefused
from engine.ledger.summary import CampaignSummary
from engine.library import Campaign, Engine
from engine.model import CampaignState
from engine.orders.conduct import Wish
from engine.runs.beside import OPT_OUT
from engine.runs.control import Order
from engine.runtime import Engine as Machinery
from engine.settings import Settings, load_settings
from engine.simulator import Fault, Simulator, SimulatorSettings
from engine.telemetry import logger
from tests.dispatch import virtual
from tests.numbers import mobiles

BEGIN = datetime(2026, 3, 5, 2, 0, tzinfo=UTC)
HUNG_S = 20_000.0
FAULTS = (
    Fault.DROP_ANSWER,
    Fault.RESET_BEFORE,
    Fault.HANG_ACCEPT,
    Fault.HANG_LOST,
    Fault.HTTP_500,
    Fault.HTTP_500_TAKEN,
    Fault.HTTP_503,
    Fault.REFUSE,
    Fault.HALF_ANSWER,
    Fault.FAILD_BALANCE,
    Fault.FAILD_UNKNOWN,
    Fault.SHORT_COUNT,
)
COMPLAINTS = ("no longer ours", "not settled any more", "a write failed", "no longer read")


class Complaints(logging.Handler):
    """Whatever is logged as a warning or worse, and of that what only a fault of ours explains."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self.all: Counter[str] = Counter()

    def emit(self, entry: logging.LogRecord) -> None:
        words = entry.getMessage()
        self.all[words] += 1
        if any(each in words for each in COMPLAINTS):
            self.said.append(f"{words} {entry.__dict__.get('problem', '')} {entry.exc_info}")


class Storm:
    """One seed: a campaign, three processes after one another that own its journal, and several runs in each."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance, self.folder = random.Random(seed), folder
        self.people = mobiles(self.chance.choice([30, 150, 400]))
        self.size = self.chance.choice([3, 15, 40])
        self.time: Callable[[], float] = lambda: 0.0
        self.looks = False
        self.ends: list[str] = []
        self.trace: list[str] = []

    def wall(self) -> datetime:
        return BEGIN + timedelta(seconds=self.time())

    def settings(self, sim: Simulator) -> Settings:
        given: dict[str, object] = {
            "account.url": sim.url,
            "account.password": "demo",
            "journal.url": self.folder / "xinshi.db",
            "pace.requests_per_second": self.chance.choice([0, 5, 50]),
            "pace.in_flight": self.chance.choice([1, 3, 8]),
            "batch.max_recipients": self.size,
            "settlement.min_age_s": 6,
            "settlement.balance_settle_s": 0.5,
            "timeouts.answer_s": 3,
            "timeouts.connect_s": 1,
            "timeouts.grace_s": self.chance.choice([0.2, 5]),
            "retry.attempts": self.chance.choice([2, 5]),
            "retry.wait_s": 0.3,
            "breaker.doubts": self.chance.choice([2, 3, 20]),
            "breaker.refusals": 50,
            "tracking.report_interval_s": 2,
            "tracking.reply_interval_s": 5,
        }
        return load_settings(
            None, overrides=given, environ={"HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder)}
        )

    def faults(self) -> dict[str, float]:
        return {fault: self.chance.choice([0.02, 0.1, 0.3]) for fault in FAULTS if self.chance.random() < 0.25}

    # -- beside a run ------------------------------------------------------------------------------------------------------

    async def orders(self, sim: Simulator, machinery: Machinery, campaign: Campaign) -> None:
        chance = self.chance
        while True:
            await asyncio.sleep(chance.random() * chance.choice([0.01, 0.3, 3]))
            what = chance.choice(
                ["pause", "pause", "resume", "opt out", "pace", "faults", "cancel", "stop", "stop now"]
            )
            if what in ("cancel", "stop", "stop now") and chance.random() < 0.7:
                continue
            self.trace.append(f"{virtual.now():.3f} {what}")
            match what:
                case "pause":
                    await campaign.pause()
                    if chance.random() < 0.5:
                        await self.stands(sim, campaign)
                    if chance.random() < 0.7:
                        await campaign.resume()
                case "resume":
                    await campaign.resume()
                case "opt out":
                    words = (machinery.gate.account.account_key, "operator", "asked", chance.choice(self.people))
                    await machinery.order(Order(verb=OPT_OUT, campaign="", words=words))
                case "pace":
                    words = (f"in_flight={chance.choice([1, 3, 8])}",)
                    await machinery.order(Order(verb="pace", campaign="spring", words=words))
                case "faults":
                    sim.set_faults(self.faults())
                case "cancel":
                    if chance.random() < 0.2:
                        await campaign.cancel()
                        await self.stands(sim, campaign)
                case "stop":
                    campaign.stop()
                case _:
                    campaign.stop(now=True)

    async def stands(self, sim: Simulator, campaign: Campaign) -> None:
        """Whatever was under way has come to its end after so long; nothing follows."""
        self.looks = True  # nobody else may resume it
        await asyncio.sleep(5)
        sent = len(sim.truth()["sends"])  # type: ignore[arg-type]
        await asyncio.sleep(self.chance.choice([0, 3, 30]))
        self.looks = False
        now_sent = len(sim.truth()["sends"])  # type: ignore[arg-type]
        assert now_sent == sent, f"{now_sent - sent} requests left although it was paused or cancelled"

    # -- runs --------------------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """From the plan to the end. Raises AssertionError where something is not true."""
        chance = self.chance
        self.time = asyncio.get_running_loop().time  # also asked in threads
        clocks = Clocks(wall=self.wall, passing=lambda: 1_000 + self.time(), monotonic=self.time)
        how = SimulatorSettings(
            latency_s=chance.choice([0.01, 0.3]),
            jitter_s=chance.choice([0, 0.3]),
            seed=chance.randrange(1000),
            hang_s=4,
            refuse_s=0.5,
            points=chance.choice([10_000, len(self.people) // 2 + 1, len(self.people)]),
            rate_limit=chance.choice([0, 0, 20]),
        )
        async with Simulator(how, wall=lambda: self.wall().timestamp(), monotonic=clocks.monotonic) as sim:
            settings = self.settings(sim)
            for tenure in range(3):
                async with Machinery.open(settings, "default", clocks=clocks) as machinery:
                    await self.tenure(sim, machinery, last=tenure == 2, planned=tenure > 0)

    async def tenure(self, sim: Simulator, machinery: Machinery, *, last: bool, planned: bool) -> None:
        chance, engine = self.chance, Engine(machinery)
        if planned:
            campaign = await engine.campaign("spring")
        else:
            campaign = await engine.plan(self.people, text="【测试】春季新品到店", name="spring", allow_partial=True)
            record = await machinery.journal.find_campaign(name="spring")
            assert record is not None
            canary = chance.choice([None, None, 5, 40])
            keep = chance.choice([None, None, Decimal(1), Decimal(20)])
            if canary or keep:
                await machinery.decide(
                    record, Wish(at=self.wall(), canary=canary, canary_wait="8s" if canary else None, keep_points=keep)
                )
        campaign.allow_partial = True
        for _ in range(chance.choice([1, 2, 3])):
            sim.set_faults(self.faults())
            await self.run(sim, machinery, campaign, storm=True)
        if not last:
            return
        sim.set_faults({})
        sim.top_up(100_000)
        summary = None
        for _ in range(25):
            await campaign.resume()
            summary = await self.run(sim, machinery, campaign, storm=False)
            if summary.state in (CampaignState.FINISHED, CampaignState.CANCELLED):
                break
            if not summary.recipients["planned"] and list(summary.reasons) == ["in_doubt"]:
                break
        assert summary is not None
        assert summary.recipients["planned"] == 0, (summary, self.ends)

    async def run(self, sim: Simulator, machinery: Machinery, campaign: Campaign, *, storm: bool) -> CampaignSummary:
        chance = self.chance
        limit = chance.choice([None, None, None, 25]) if storm else None
        self.looks = False
        ordering = asyncio.create_task(self.orders(sim, machinery, campaign)) if storm else None
        running = asyncio.create_task(campaign.run(limit=limit))
        waits: set[asyncio.Task[Any]] = {running} | ({ordering} if ordering else set())
        over = virtual.now() + HUNG_S
        # A pause that nobody ends is no fault: somebody resumes.
        while not running.done():
            done, _ = await asyncio.wait(waits, timeout=60, return_when=asyncio.FIRST_COMPLETED)
            if ordering in done:
                ordering.result()
            if not running.done() and not self.looks:
                await campaign.resume()
            assert virtual.now() < over, "hung"
        if ordering is not None:
            ordering.cancel()
            (ended,) = await asyncio.gather(ordering, return_exceptions=True)
            if isinstance(ended, Exception):
                raise ended
        try:
            summary = running.result()
        except (JournalBusy, PlanError, SendRefused) as error:
            self.ends.append(type(error).__name__)
            summary = await campaign.summary()
        self.ends.append(f"{summary.state} {','.join(summary.reasons)}")
        self.check(sim, summary)
        return summary

    def check(self, sim: Simulator, summary: CampaignSummary) -> None:
        stands: dict[str, str] = {}
        with closing(sqlite3.connect(f"file:{self.folder / 'xinshi.db'}?mode=ro", uri=True)) as raw:
            held = raw.execute("SELECT seq, state FROM batch WHERE state IN ('claimed', 'submitting')").fetchall()
            for state, joined in raw.execute("SELECT state, mobiles FROM batch WHERE state != 'split'"):
                for mobile in joined.split(","):
                    assert mobile not in stands, "in two batches"
                    stands[mobile] = state
        assert held == [], f"held: {held}"
        assert stands.keys() == set(self.people), "lost"
        truth = sim.truth()
        for mobile, times in truth["mobiles"].items():  # type: ignore[attr-defined]
            assert times == 1, "twice"
            assert stands[mobile] in ("accepted", "in_doubt"), f"taken, and {stands[mobile]}"
        recipients, left_out = summary.recipients, sum(summary.excluded.values())
        assert sum(recipients.values()) + left_out == summary.rows + summary.extra, summary
        assert recipients["in_flight"] == 0, summary
        if summary.state is CampaignState.FINISHED:
            assert recipients["planned"] == recipients["in_doubt"] == 0, summary
        if summary.state is CampaignState.CANCELLED:
            assert recipients["planned"] == 0, summary
        assert summary.state is not CampaignState.RUNNING, summary


def of_seed(seed: int, folder: Path) -> tuple[Storm, Complaints]:
    """One seed in a folder of its own."""
    storm, complaints = Storm(seed, folder), Complaints()
    logger.addHandler(complaints)
    try:
        virtual.run(storm.live())
        assert not complaints.said, complaints.said
    except BaseException:
        print("\n".join(storm.trace[-12:]), storm.ends[-5:], dict(complaints.all))
        raise
    finally:
        logger.removeHandler(complaints)
    return storm, complaints


def main() -> int:
    """Try seeds, and print those in which something is not true. Exit code 1 when there are any."""
    parser = argparse.ArgumentParser(prog="python -m tests.runs.storms")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--raise", action="store_true", dest="raises")
    words = parser.parse_args()
    failed, begun, ends, said = 0, time.monotonic(), Counter[str](), Counter[str]()
    for seed in range(words.first, words.first + words.seeds):
        with tempfile.TemporaryDirectory() as folder:
            try:
                storm, complaints = of_seed(seed, Path(folder))
                ends.update(storm.ends)
                said.update(complaints.all)
            except Exception as error:
                if words.raises:
                    raise
                failed += 1
                print(f"seed {seed}: {type(error).__name__}: {str(error)[:600]}", flush=True)
    print(f"{words.seeds} seeds, {failed} failed, {time.monotonic() - begun:.0f} s; {dict(ends)}; {dict(said)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
