"""python -m tests.dispatch.weather: runs of a pool in all weathers at once, by seed, held against what must always be true.

Everything that can happen to a run happens in one: answers that are lost or refused, "too often", silences, halts, stops,
opt-outs, hours that end, points that run out, leases that end in the queue, writes that take long. The journal is a real
one; time is virtual, so a seed is the same each time, but for the order in which tasks of a group are cancelled.
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
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from engine.dispatch.finish import finish
from engine.dispatch.lane import Lane
from engine.dispatch.pacing import Pace
from engine.dispatch.pool import Pool, PoolEnd, Settled, Terms
from engine.dispatch.retry import RetryPolicy
from engine.journal.port import SettledBy, Settling
from engine.journal.store import SqlJournal
from engine.ledger.floor import Floor
from engine.model import Claim, Message, Outcome, OutcomeKind, PauseReason, PlannedBatch, RefusalKind
from engine.runs.bounds import Bounds
from engine.telemetry import logger
from tests.dispatch.house import DOUBT, NOT_SENT, Limits, ManyAhead, NobodyAhead, accepted, refused, turns
from tests.dispatch.test_interruptions import SteppedLoop
from tests.journal.stores import ACCOUNT, START, TEXT, SqlitePlace, draft, totals
from tests.numbers import mobiles

OTHER_TEXT = Message(content="【甲】秋天来了，回T退订", units=12, segments=2)
HARDLY_A_PACE = 10_000.0  # requests a second: few are claimed at once, and claimed again while others are under way
HUNG_S = 100_000.0
"""Virtual seconds: no run of so few batches takes so long."""
ROUGH_RUNS = 6  # before the weather calms down
SLOW = ("claim_batches", "release", "record_intent", "record_outcome", "split_batch", "cancel_emptied", "withdraw")


class Slow:
    """A journal whose writes take some turns of the loop before and after them. Once asked for they end, as the real ones do."""

    def __init__(self, journal: SqlJournal, chance: random.Random, most: int) -> None:
        self._journal, self._chance, self._most = journal, chance, most

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._journal, name)
        if name not in SLOW or not self._most:
            return verb

        async def late(*args: Any, **kwargs: Any) -> Any:
            await turns(self._chance.randrange(self._most))
            result = await verb(*args, **kwargs)
            await turns(self._chance.randrange(self._most))
            return result

        return lambda *args, **kwargs: finish(late(*args, **kwargs))


class Hours:
    """Open, until the weather closes them."""

    def __init__(self) -> None:
        self.is_open = True

    def words(self) -> str:
        return "closed"


@dataclass
class Odds:
    """What this gateway does, in weights; and how long it takes, in seconds."""

    accepts: float = 1.0
    loses_taken: float = 0.0
    loses_untaken: float = 0.0
    throttles: float = 0.0
    unreachable: float = 0.0
    refuses: float = 0.0
    refuses_money: float = 0.0
    takes_s: float = 0.0


class Vendor:
    """The gateway, and its truth: whom it took, and who must not be sent to again."""

    def __init__(self, chance: random.Random, barred: set[str]) -> None:
        self._chance, self._barred = chance, barred
        self.odds = Odds()
        self.taken: Counter[str] = Counter()
        self.spoken_for: set[str] = set()  # sent to, and not surely for nothing
        self.remaining = Decimal(10_000)
        self.calls = self.out = 0
        self.said: set[OutcomeKind | RefusalKind | str] = set()

    async def __call__(self, message: Message, joined: str, size: int, /) -> Outcome:
        numbers = joined.split(",")
        assert len(numbers) == len(set(numbers)) == size
        assert not self.spoken_for.intersection(numbers), "sent again without need"
        assert not self._barred.intersection(numbers), "sent to who had opted out"
        self.spoken_for.update(numbers)
        self.calls += 1
        self.out += 1
        fate = self._fate()
        if fate in ("accepts", "loses_taken"):
            self.taken.update(numbers)
            self.remaining -= size * message.segments
        try:
            await self._take_time()
        finally:
            self.out -= 1
        return self._outcome(fate, numbers)

    def _fate(self) -> str:
        odds = {name: weight for name, weight in vars(self.odds).items() if name != "takes_s"}
        return self._chance.choices(list(odds), list(odds.values()))[0]

    async def _take_time(self) -> None:
        if self.odds.takes_s and self._chance.random() < 0.7:
            await asyncio.sleep(self._chance.random() * self.odds.takes_s)
        else:
            await turns(self._chance.randrange(12))

    def _outcome(self, fate: str, numbers: list[str]) -> Outcome:
        self.said.add(fate)
        match fate:
            case "accepts":
                return replace(accepted(len(numbers)), remaining=self.remaining)
            case "loses_taken" | "loses_untaken":
                return replace(DOUBT, may_land_late=self._chance.random() < 0.5)
        self.spoken_for.difference_update(numbers)
        match fate:
            case "throttles":
                asked_s = self._chance.choice([None, None, 0.0, 3.0, 200.0])
                return Outcome(
                    kind=OutcomeKind.NOT_TAKEN,
                    reason="HTTP 429",
                    pause=PauseReason.THROTTLED,
                    retry_after_s=asked_s,
                )
            case "unreachable":
                return NOT_SENT
            case "refuses":
                self.spoken_for.update(numbers)  # a batch that is refused is over
                return refused(self._chance.choice([RefusalKind.UNKNOWN, RefusalKind.REQUEST]))
            case _:
                return refused(RefusalKind.BALANCE)


class Growing:
    """A supply of several campaigns that open one after the other."""

    def __init__(self, journal: Any, campaigns: Sequence[int], chance: random.Random) -> None:
        self._journal, self._chance = journal, chance
        self._closed, self._open = list(campaigns), list[int]()

    async def claim(self, *, limit: int, lease_until_s: float, avoiding: Sequence[int]) -> list[Claim]:
        claims: list[Claim] = []
        for campaign_id in self._open:
            if len(claims) < limit:
                claims += await self._journal.claim_batches(
                    campaign_id, limit=limit - len(claims), lease_until_s=lease_until_s, avoiding=avoiding
                )
        return claims

    async def more(self) -> bool:
        await asyncio.sleep(self._chance.random() * 2)
        if self._closed:
            self._open.append(self._closed.pop(0))
            return True
        return False


class World:
    """One seed: a few campaigns in one journal, one lane, one vendor, and runs until all is sent."""

    def __init__(self, seed: int, place: SqlitePlace) -> None:
        self.chance = chance = random.Random(seed)
        self.place = place
        self.barred: set[str] = set()
        self.vendor = Vendor(chance, self.barred)
        self.hours = Hours()
        self.avoided: set[int] = set()
        self.is_moved = False  # in this run something had to wait, or was planned again
        self.slept_s = 0.0
        self.lane = self._lane()
        self.retry = RetryPolicy(
            attempts=chance.choice([1, 2, 3, 5]), wait_s=chance.choice([0, 0.5, 30]), wait_max_s=60
        )
        self.settled: list[Settled] = []
        self.campaigns: list[int] = []
        self.everybody: list[str] = []
        self.slow = chance.choice([0, 2, 30, 120])
        self.sleeps = chance.random() < 0.1  # the machine does
        self.ends: list[PoolEnd] = []

    def _lane(self) -> Lane:
        chance = self.chance
        limits = Limits(
            requests_per_second=chance.choice([0, 0, *[HARDLY_A_PACE] * 4, 0.5, 5, 50]),
            numbers_per_second=chance.choice([0, 0, 0, 0, 0, 100]),
            in_flight=chance.choice([1, 2, 4, 8]),
        )
        made: type[Lane] = chance.choice([Lane, ManyAhead, NobodyAhead])
        pace = Pace(
            requests_per_second=limits.requests_per_second,
            numbers_per_second=limits.numbers_per_second,
            window_s=1,
            clock=now,
        )
        retry = RetryPolicy(attempts=chance.choice([3, 30]), wait_s=1, wait_max_s=60)
        return made(limits, window_s=1, clock=now, retry=retry, pace=pace)

    async def plan(self, journal: SqlJournal) -> None:
        chance, used = self.chance, 0
        sizes = chance.choice([(1, 2, 3), (1, 20, 41), (20, 45, 60), (40, 41, 42, 43)])
        for number in range(chance.choice([1, 1, 2, 3])):
            mine = [chance.choice(sizes) for _ in range(chance.choice([1, 10, 40, 80]))]
            numbers = mobiles(used + sum(mine))[used:]
            used += sum(mine)
            texts = chance.choice([(TEXT,), (TEXT, OTHER_TEXT)])
            batches, begin = [], 0
            for seq, size in enumerate(mine, 1):
                joined = ",".join(numbers[begin : begin + size])
                lines = f"{begin + 2}-{begin + 1 + size}"
                said = chance.randrange(len(texts)) + 1
                batches.append(PlannedBatch(seq=seq, size=size, mobiles=joined, lines=lines, message=said))
                begin += size
            campaign_id = await journal.begin_campaign(draft(f"campaign {number}", messages=texts))
            await journal.add_plan(campaign_id, batches, [])
            await journal.publish_campaign(campaign_id, totals(*mine))
            self.campaigns.append(campaign_id)
            self.everybody += numbers

    # -- one run ---------------------------------------------------------------------------------------------------------

    def pool(self, journal: SqlJournal, supply: Growing | None, bounds: Bounds | None, campaign_id: int) -> Pool:
        terms = Terms(
            campaign_id=campaign_id,
            account=ACCOUNT,
            single_text=False,
            price=Decimal(1),
            retry=self.retry,
            doubts_in_a_row=self.chance.choice([2, 3, 50]),
            refusals_in_a_row=50,
            grace_s=self.chance.choice([0, 1, 30]),
        )
        return Pool(
            terms,
            journal=Slow(journal, self.chance, self.slow),  # type: ignore[arg-type]  # it hands everything on
            send=self.vendor,
            lane=self.lane,
            wall_clock=lambda: START + timedelta(seconds=now()),
            lease_clock=lambda: now() + self.slept_s,
            on_settled=self.settled.append,
            opted_out=lambda joined: [mobile for mobile in joined.split(",") if mobile in self.barred],
            avoided_sizes=lambda: self.avoided,
            supply=supply,
            bounds=bounds,
        )

    def bounds(self) -> tuple[Bounds | None, Floor | None]:
        floor = None
        if self.chance.random() < 0.4:
            needed = sum(1 for mobile in self.everybody if mobile not in self.vendor.spoken_for)
            self.vendor.remaining = Decimal(self.chance.randrange(2 * needed + 2))
            floor = Floor(Decimal(1), balance=self.vendor.remaining)
        if floor is None and self.chance.random() < 0.3:
            return None, None
        return Bounds(self.hours, floor, price=Decimal(1)), floor  # type: ignore[arg-type]  # it is open or not

    async def run(self, journal: SqlJournal, *, rough: bool) -> PoolEnd | None:
        """One run in this weather, and what must be true after it. None: it was cancelled."""
        chance, vendor = self.chance, self.vendor
        vendor.odds, vendor.said = self._odds() if rough else Odds(), set()
        self.hours.is_open, self.avoided, self.is_moved = True, set(), False
        supply = Growing(Slow(journal, chance, self.slow), self.campaigns, chance) if chance.random() < 0.3 else None
        bounds, floor = self.bounds() if rough else (None, None)
        campaign_id = chance.choice([self._campaign_left(), chance.choice(self.campaigns)])
        pool = self.pool(journal, supply, bounds, campaign_id)
        stop, stop_now = asyncio.Event(), asyncio.Event()
        self.lane.begin()
        task = asyncio.create_task(pool.run(stop=stop, stop_now=stop_now))
        weather = asyncio.create_task(self._weather(journal, pool, task, stop, stop_now)) if rough else None
        done, _ = await asyncio.wait([task], timeout=HUNG_S)
        assert done, f"hung: {pool.__dict__}"
        if weather is not None:
            weather.cancel()
            (ended,) = await asyncio.gather(weather, return_exceptions=True)
            assert ended is None or isinstance(ended, asyncio.CancelledError), ended
        end = None if task.cancelled() else task.result()
        self._check(pool, floor)
        if end is not None:
            self.ends.append(end)
            self._check_end(end, pool, [campaign_id] if supply is None else self.campaigns)
        return end

    def _campaign_left(self) -> int:
        left = [row[0] for row in self._rows("SELECT DISTINCT campaign_id FROM batch WHERE state = 'planned'")]
        return int(left[0]) if left else self.campaigns[0]

    def _odds(self) -> Odds:
        chance = self.chance
        return Odds(
            loses_taken=chance.choice([0, 0, 0.1, 0.4]),
            loses_untaken=chance.choice([0, 0, 0.1, 0.4]),
            throttles=chance.choice([0, 0, 0.1, 0.6]),
            unreachable=chance.choice([0, 0, 0.1]),
            refuses=chance.choice([0, 0, 0.1]),
            refuses_money=chance.choice([0, 0, 0, 0.02]),
            takes_s=chance.choice([0, 0, 0.2, 1.5, 40]),
        )

    # -- the weather -----------------------------------------------------------------------------------------------------

    async def _weather(
        self, journal: SqlJournal, pool: Pool, task: asyncio.Task[PoolEnd], stop: asyncio.Event, stop_now: asyncio.Event
    ) -> None:
        chance = self.chance
        often = chance.choice([3, 30, 200, 1_000])
        gently: list[Callable[[], Awaitable[None]]] = [
            lambda: self._silence(pool),
            lambda: self._opt_out(pool),
            lambda: self._avoid(),
            lambda: self._settle(journal),
            lambda: self._change_lane(),
            lambda: self._sleep(),
        ]
        weights = [chance.choice([0, 1, 10]) for _ in gently]
        weights[0] += 1
        in_turns, calm = chance.choice([0.5, 0.9, 1]), chance.choice([0.9, 0.99])
        while True:
            if chance.random() < in_turns:
                await turns(chance.randrange(often))
            else:
                await asyncio.sleep(chance.random() * chance.choice([0.01, 1, 60]))
            if chance.random() < calm:
                await chance.choices(gently, weights)[0]()
                continue
            match chance.choice(["halt", "halt", "stop", "stop now", "cancel", "hours"]):
                case "halt":
                    pool.halt(PauseReason.OPERATOR, "paused")
                case "stop":
                    stop.set()
                case "stop now":
                    stop_now.set()
                case "cancel":
                    task.cancel()
                case _:
                    self.hours.is_open = False

    async def _silence(self, pool: Pool) -> None:
        await pool.silence()
        try:
            calls = self.vendor.calls
            assert not self._rows("SELECT 1 FROM attempt WHERE outcome IS NULL") or pool._halted.is_set(), "not silent"
            await turns(self.chance.randrange(40))
            if self.chance.random() < 0.1:
                await asyncio.sleep(200)
            assert self.vendor.calls == calls or pool._halted.is_set(), "it left in silence"
        finally:
            pool.go_on()

    async def _opt_out(self, pool: Pool) -> None:
        held = [claim.mobiles for claim in pool._held.values()] or [",".join(self.everybody)]
        numbers = self.chance.choice(held).split(",")
        self.barred.update(numbers if self.chance.random() < 0.1 else numbers[:1])

    async def _avoid(self) -> None:
        sizes = [
            len(joined.split(",")) for (joined,) in self._rows("SELECT mobiles FROM batch WHERE state = 'planned'")
        ]
        self.avoided = {self.chance.choice(sizes)} if sizes and self.chance.random() < 0.5 else set()
        self.is_moved = self.is_moved or bool(self.avoided)

    async def _change_lane(self) -> None:
        limits = self.lane.limits
        self.lane.change(replace(limits, in_flight=self.chance.choice([1, 2, 4, 8])))

    async def _sleep(self) -> None:
        if self.sleeps:
            self.slept_s += self.chance.choice([1, 5, 300])

    async def _settle(self, journal: SqlJournal) -> None:
        """End some doubts, as they really are."""
        query = (
            "SELECT a.batch_id, a.number, b.mobiles, a.omitted FROM attempt a JOIN batch b ON b.id = a.batch_id "
            "WHERE a.outcome = 'in_doubt' AND a.evidence IS NULL"
        )
        for batch_id, number, joined, omitted in self._rows(query):
            if self.chance.random() < 0.5:
                continue
            carried = set(joined.split(",")).difference(omitted.split(","))
            taken = {mobile for mobile in carried if self.vendor.taken[mobile]}
            assert taken in (set(), carried)
            settling = Settling(
                batch_id=batch_id,
                number=number,
                taken=bool(taken),
                by=SettledBy.OPERATOR,
                evidence="it is so",
                at=START + timedelta(seconds=now()),
                charge=Decimal(len(carried)) if taken else None,
                charged_at=START + timedelta(seconds=now()) if taken else None,
            )
            if not taken:
                self.is_moved = True
                self.vendor.spoken_for.difference_update(carried)
            assert await journal.settle(ACCOUNT, settling)

    # -- what must be true -----------------------------------------------------------------------------------------------

    def _check(self, pool: Pool, floor: Floor | None) -> None:
        lane = self.lane
        assert not pool._held, "held after its end"
        counters = {
            "under way": pool._under_way,
            "breaker": pool._breaker._in_flight,
            "ready": lane.ready.taken,
            "slots": lane.slots.taken,
            "in line": lane.pace.waiting,
            "pending requests": lane.pace._requests.pending,
            "pending numbers": lane.pace._numbers.pending,
            "at the gateway": self.vendor.out,
            "points under way": 0 if floor is None else floor._under_way - floor._doubtful,
        }
        assert not any(counters.values()), counters
        held = self._rows("SELECT seq, state, attempts FROM batch WHERE state IN ('claimed', 'submitting')")
        assert not held, f"held after the run's end: {held}"
        if not self.sleeps:
            self._check_doubts()
        self._check_everybody()

    def _check_doubts(self) -> None:
        query = (
            "SELECT b.seq, b.mobiles, a.omitted, a.reason FROM attempt a JOIN batch b ON b.id = a.batch_id "
            "WHERE a.outcome = 'in_doubt' AND a.evidence IS NULL"
        )
        for seq, joined, omitted, reason in self._rows(query):
            carried = set(joined.split(",")).difference(omitted.split(","))
            assert carried <= self.vendor.spoken_for, f"a doubt for nothing: batch {seq}, {reason}"

    def _check_everybody(self) -> None:
        stands: dict[str, str] = {}
        for state, joined in self._rows("SELECT state, mobiles FROM batch WHERE state != 'split'"):
            for mobile in joined.split(","):
                assert mobile not in stands, "in two batches"
                stands[mobile] = state
        assert stands.keys() == set(self.everybody), "somebody is lost"
        for mobile, times in self.vendor.taken.items():
            assert times == 1, "taken twice"
            assert stands[mobile] in ("accepted", "in_doubt"), f"taken, and {stands[mobile]}"
        for mobile, state in stands.items():
            if state == "planned":
                assert mobile not in self.vendor.spoken_for, "it left, and is planned"
            if state == "accepted":
                assert self.vendor.taken[mobile] or mobile in self.barred, "accepted by nobody"

    def _check_end(self, end: PoolEnd, pool: Pool, campaigns: Sequence[int]) -> None:
        said = self.vendor.said
        because = {
            PauseReason.UNREACHABLE: "unreachable" in said,
            PauseReason.THROTTLED: "throttles" in said,
            PauseReason.BALANCE: "refuses_money" in said,
            PauseReason.DOUBTS: bool({"loses_taken", "loses_untaken"} & said) or self.sleeps,
        }
        assert end.reason is None or because.get(end.reason, True), f"it said {end}"
        if end.reason is None:
            left = self._rows("SELECT campaign_id, size FROM batch WHERE state = 'planned'")
            if not self.is_moved:
                mine = [row for row in left if row[0] in campaigns]
                assert not mine, f"it said that nothing is left: {mine}"

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.place.path}?mode=ro", uri=True)) as raw:
            return raw.execute(query).fetchall()


def now() -> float:
    return asyncio.get_running_loop().time()


class _Complaints(logging.Handler):
    """Whatever is logged as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, entry: logging.LogRecord) -> None:
        self.said.append(f"{entry.getMessage()} {entry.__dict__.get('problem', '')}")


async def live_through(seed: int, place: SqlitePlace, runs: int) -> World:
    """Runs of one seed in rough weather, then calm ones to the end. Raises AssertionError where something is not true."""
    world, complaints = World(seed, place), _Complaints()
    logger.addHandler(complaints)
    try:
        async with place.open() as journal:
            await world.plan(journal)
            for _ in range(runs):
                await world.run(journal, rough=True)
                assert not complaints.said, complaints.said
            for _ in range(40):
                if not world._rows("SELECT 1 FROM batch WHERE state IN ('planned', 'in_doubt')"):
                    break
                await world._settle(journal)
                await world.run(journal, rough=False)
                assert not complaints.said, complaints.said
            states = {state for (state,) in world._rows("SELECT DISTINCT state FROM batch")}
            assert states <= {"accepted", "refused", "cancelled", "split"}, states
    finally:
        logger.removeHandler(complaints)
    return world


def of_seed(seed: int, folder: Path, *, runs: int = ROUGH_RUNS) -> World:
    """One seed in a folder of its own. `runs` in rough weather, before it calms down."""
    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        return runner.run(live_through(seed, SqlitePlace(folder), runs))


def main() -> int:
    """Try seeds, and print those in which something is not true. Exit code 1 when there are any."""
    parser = argparse.ArgumentParser(prog="python -m tests.dispatch.weather")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--runs", type=int, default=ROUGH_RUNS)
    parser.add_argument("--raise", action="store_true", dest="raises")
    words = parser.parse_args()
    failed, begun, ends = 0, time.monotonic(), Counter[str]()
    for seed in range(words.first, words.first + words.seeds):
        with tempfile.TemporaryDirectory() as folder:
            try:
                world = of_seed(seed, Path(folder), runs=words.runs)
                ends.update(str(end.reason) for end in world.ends)
            except Exception as error:
                if words.raises:
                    raise
                failed += 1
                print(f"seed {seed}: {type(error).__name__}: {str(error)[:300]}", flush=True)
    print(f"{words.seeds} seeds, {failed} failed, {time.monotonic() - begun:.0f} s; {dict(ends)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
