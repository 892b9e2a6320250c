"""A pool with a gateway that does what a test tells it, over a real journal."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from engine.dispatch.lane import Lane, Limits
from engine.dispatch.pacing import Pace
from engine.dispatch.pool import Pool, PoolEnd, Settled, Terms
from engine.dispatch.retry import RetryPolicy
from engine.errors import JournalError
from engine.journal.store import SqlJournal
from engine.model import Message, Outcome, OutcomeKind, PauseReason, RefusalKind
from tests.journal.stores import ACCOUNT, START, TEXT, SqlitePlace

DOUBT = Outcome(kind=OutcomeKind.IN_DOUBT, reason="no answer in 30 s")
NOT_SENT = Outcome(kind=OutcomeKind.NOT_SENT, reason="connection refused")
THROTTLED = Outcome(kind=OutcomeKind.NOT_TAKEN, reason="HTTP 429", pause=PauseReason.THROTTLED)
WRONG_PATH = Outcome(kind=OutcomeKind.NOT_TAKEN, reason="HTTP 405", pause=PauseReason.CONFIGURATION)


def refused(kind: RefusalKind) -> Outcome:
    return Outcome(kind=OutcomeKind.REFUSED, refusal=kind, reason=f"no, because of the {kind}")


def accepted(size: int) -> Outcome:
    return Outcome(kind=OutcomeKind.ACCEPTED, task_id="1911044500010583", success_counts=size)


Answer = Callable[["Call"], Outcome | Awaitable[Outcome]]


@dataclass
class Call:
    """One request as the gateway sees it."""

    number: int  # from 1, in the order of arrival
    seq: int  # the batch it carries
    tries: int  # how often that batch has come, this time included
    size: int
    message: Message
    answer: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def accept(self) -> None:
        self.answer.set_result(accepted(self.size))


def at_once(call: Call) -> Outcome:
    """Everything is taken."""
    return accepted(call.size)


def when_told(call: Call) -> Awaitable[Outcome]:
    """The test answers each call."""
    return call.answer


class Gateway:
    """Answers as told, and checks at every request that its intent is on the disk: no byte leaves before."""

    def __init__(self, place: SqlitePlace, answer: Answer = at_once) -> None:
        self._place, self.answer = place, answer
        self.calls: list[Call] = []
        self.out = self.most_out = self.cut = 0
        self._tries: Counter[int] = Counter()
        self._beside: sqlite3.Connection | None = None
        self._arrived = asyncio.Condition()

    async def __call__(self, message: Message, mobiles: str, size: int, /) -> Outcome:
        seq = self._intended(mobiles, size)
        self._tries[seq] += 1
        call = Call(number=len(self.calls) + 1, seq=seq, tries=self._tries[seq], size=size, message=message)
        self.calls.append(call)
        self.out += 1
        self.most_out = max(self.most_out, self.out)
        try:
            async with self._arrived:
                self._arrived.notify_all()
            answer = self.answer(call)
            return answer if isinstance(answer, Outcome) else await answer
        except asyncio.CancelledError:
            self.cut += 1
            raise
        finally:
            self.out -= 1

    def _intended(self, mobiles: str, size: int) -> int:
        query = (
            "SELECT b.seq, b.state, b.attempts, b.mobiles, a.number, a.size, a.omitted, a.outcome FROM batch b "
            "LEFT JOIN attempt a ON a.batch_id = b.id AND a.number = b.attempts WHERE b.state != 'split' AND instr(b.mobiles, ?)"
        )
        self._beside = self._beside or sqlite3.connect(f"file:{self._place.path}?mode=ro", uri=True)
        found = self._beside.execute(query, [mobiles[-11:]]).fetchall()
        ((seq, state, attempts, planned, number, carried, omitted, outcome),) = found
        assert (state, number, outcome) == ("submitting", attempts, None), f"batch {seq} left before its intent"
        left_out = (omitted or "").split(",")
        assert mobiles.split(",") == [mobile for mobile in planned.split(",") if mobile not in left_out]
        assert carried == size == mobiles.count(",") + 1
        return int(seq)

    def look_away(self) -> None:
        """Close what looked at the disk: whoever closes the journal shall be the last."""
        if self._beside is not None:
            self._beside.close()
            self._beside = None

    async def reached(self, calls: int) -> list[Call]:
        """Wait until so many requests have come, in all."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) >= calls)
        return self.calls

    @property
    def seqs(self) -> list[int]:
        return [call.seq for call in self.calls]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 500.0

    def __call__(self) -> float:
        return self.now_s


class Faulty:
    """A journal whose disk fails at the n-th write of a verb, and at every write after it."""

    def __init__(self, journal: SqlJournal, verb: str, at: int) -> None:
        self._journal, self._verb, self._left, self.failed = journal, verb, at, False

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._journal, name)
        if name not in {"claim_batches", "release", "record_intent", "record_outcome"}:
            return verb

        async def write(*args: Any, **kwargs: Any) -> Any:
            self._left -= name == self._verb
            self.failed = self.failed or self._left == 0
            if self.failed:
                await asyncio.sleep(0)
                raise JournalError("no space is left on the disk of the journal")
            return await verb(*args, **kwargs)

        return write


class Run:
    """One run of a pool and everything a test wants to touch."""

    def __init__(
        self,
        journal: SqlJournal,
        gateway: Gateway,
        campaign_id: int,
        *,
        pace: Pace | None = None,
        in_flight: int = 4,
        lane: Lane | None = None,
        messages: Sequence[Message] = (TEXT,),
        lease_clock: Callable[[], float] | None = None,
        **terms: Any,
    ) -> None:
        self.gateway, self.clock, self.settled = gateway, Clock(), list[Settled]()
        self.stop, self.stop_now = asyncio.Event(), asyncio.Event()
        written = Terms(
            campaign_id=campaign_id,
            account=ACCOUNT,
            single_text=len(messages) == 1,
            price=Decimal(1),
            retry=RetryPolicy(attempts=3, wait_s=0, wait_max_s=0),
            doubts_in_a_row=3,
            refusals_in_a_row=3,
            grace_s=30,
        )
        asked = replace(written, **terms)
        self.lane = lane or a_lane(in_flight=in_flight, pace=pace or unlimited(), retry=asked.retry)
        self.pool = Pool(
            asked,
            journal=journal,
            send=gateway,
            lane=self.lane,
            wall_clock=lambda: START + timedelta(seconds=self.clock.now_s),
            lease_clock=lease_clock or self.clock,
            on_settled=self.settled.append,
        )

    def start(self) -> asyncio.Task[PoolEnd]:
        return asyncio.create_task(self.to_its_end())

    async def to_its_end(self) -> PoolEnd:
        try:
            return await self.pool.run(stop=self.stop, stop_now=self.stop_now)
        finally:
            self.gateway.look_away()


def unlimited() -> Pace:
    return Pace(requests_per_second=0, numbers_per_second=0, window_s=1, clock=now)


def now() -> float:
    """Seconds of the loop that runs: virtual ones in virtual time."""
    return asyncio.get_running_loop().time()


def a_lane(*, in_flight: int = 4, pace: Pace, retry: RetryPolicy) -> Lane:
    return NobodyAhead(_limits(in_flight), window_s=1, clock=now, retry=retry, pace=pace)


def crowded(*, in_flight: int) -> Lane:
    """A lane on which as many intents are written ahead as requests are under way."""
    retry = RetryPolicy(attempts=3, wait_s=0, wait_max_s=0)
    return ManyAhead(_limits(in_flight), window_s=1, clock=now, retry=retry, pace=unlimited())


def _limits(in_flight: int) -> Limits:
    return Limits(requests_per_second=0, numbers_per_second=0, in_flight=in_flight)


class NobodyAhead(Lane):
    """Every intent has its slot, so that a test can count both."""

    @property
    def _ahead(self) -> int:
        return 0


class ManyAhead(Lane):
    """Twice as many intents as slots, from the first answer on."""

    @property
    def _ahead(self) -> int:
        return self.slots.limit


async def turns(number: int = 20) -> None:
    """Let everybody who can go on do so."""
    for _ in range(number):
        await asyncio.sleep(0)
