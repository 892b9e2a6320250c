"""Batch -> Outcome: a pool of workers takes each batch up the ladder

    claim → admit (pace) → recheck → intent durable → gate (exact pace) → lease → POST → outcome durable

Each rung is one method. What an outcome means is decided in decisions.py, when to stop in breaker.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from engine.dispatch.breaker import Breaker
from engine.dispatch.decisions import Decision, decide
from engine.dispatch.pacing import Pace
from engine.dispatch.retry import RetryPolicy, until_taken
from engine.errors import ClaimLost
from engine.journal.port import Journal, Submitted
from engine.model import BatchState, Claim, Message, Outcome, OutcomeKind, PauseReason
from engine.telemetry import logger

LEASE_S = 120.0
CLAIM_AT_ONCE = 128
INTENT_GOOD_FOR_S = 2.0
"""An intent older than this at the last moment is not sent: the machine slept, or somebody else may hold the batch now."""


class Sender(Protocol):
    """Hands one batch of one campaign to the gateway. Trouble is an Outcome; only a cancellation is raised."""

    async def __call__(self, message_seq: int, mobiles: str, size: int, /) -> Outcome: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """One attempt that came to its end, for the collector and the progress display."""

    submitted: Submitted
    outcome: Outcome
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a pool works under. `price` is points per segment; `grace_s` what in-flight requests get when it stops."""

    campaign_id: int
    account: str
    messages: Mapping[int, Message]
    in_flight: int
    price: Decimal
    retry: RetryPolicy
    doubts_in_a_row: int
    refusals_in_a_row: int
    grace_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolEnd:
    """Why the pool ended. No reason: nothing is left that may be claimed."""

    reason: PauseReason | None = None
    detail: str = ""


_WITHDRAWN = Outcome(
    kind=OutcomeKind.NOT_SENT,
    reason="withdrawn: somebody in it opted out before the request left; it goes without them",
)


class _Withheld(Exception):
    """The recheck says no: sending has stopped, or the lease is over. Not an error; the batch is planned again."""


class Pool:
    """Sends what is planned in one campaign, with at most `in_flight` requests at once. Runs once."""

    def __init__(
        self,
        terms: Terms,
        *,
        journal: Journal,
        send: Sender,
        pace: Pace,
        wall_clock: Callable[[], datetime],
        lease_clock: Callable[[], float],
        on_settled: Callable[[Settled], None],
        opted_out: Callable[[str], Sequence[str]] = lambda mobiles: (),
        avoided_sizes: Callable[[], Collection[int]] = lambda: (),
    ) -> None:
        """`opted_out`: which of comma-joined numbers have opted out by now. Asked twice an attempt, so it must be quick.

        `avoided_sizes`: batches of these sizes wait; the pool ends when only such are left.
        """
        self._terms, self._journal, self._send, self._pace = terms, journal, send, pace
        self._wall_clock, self._lease_clock, self._on_settled = wall_clock, lease_clock, on_settled
        self._opted_out, self._avoided_sizes = opted_out, avoided_sizes
        self._breaker = Breaker(doubts=terms.doubts_in_a_row, refusals=terms.refusals_in_a_row)
        self._end: PoolEnd | None = None
        self._workers = 2 * terms.in_flight  # a slot each, and as many whose outcome is being written
        self._slots = asyncio.Semaphore(terms.in_flight)
        self._held: dict[int, Claim] = {}  # by batch; what nobody has delivered yet
        self._largest = 0  # numbers in a batch, as far as seen
        self._halted = asyncio.Event()
        self._door = asyncio.Event()  # open, except while somebody wants silence
        self._door.set()
        self._under_way = 0  # attempts past the door whose outcome is not on the disk yet
        self._silence = asyncio.Event()
        self._silence.set()

    async def run(self, *, stop: asyncio.Event, stop_now: asyncio.Event) -> PoolEnd:
        """Send until nothing is left, a reason to pause appears, or `stop`; `stop_now` cuts what is in flight.

        In-flight requests get `grace_s` seconds after a stop. Whatever was cut is in doubt. Raises JournalError.
        """
        work = asyncio.create_task(self._work(), name="pool")
        try:
            await _first_of(work, stop, stop_now)
            if not work.done():
                self.halt(PauseReason.STOPPED, "the run was stopped")
                await _first_of(work, stop_now, timeout=self._terms.grace_s)
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
        if self._held:  # cut before their turn came
            await self._journal.release(list(self._held.values()))
        return self._end or PoolEnd()

    async def _work(self) -> None:
        try:
            await self._one_at_a_time()
            while not self._halted.is_set() and (claims := await self._claim(1)):
                await self._deliver(claims[0])  # also what lost its lease meanwhile and was planned again
                await self._all_at_once()
        except BaseExceptionGroup as failures:  # raised on: the first is the cause
            raise failures.exceptions[0] from failures

    async def _one_at_a_time(self) -> None:
        """The first batch of a run goes alone, and so does the next until the gateway's application has answered."""
        while not self._breaker.answered and not self._halted.is_set():
            claims = await self._claim(1)
            if not claims:
                return
            await self._deliver(claims[0])

    async def _all_at_once(self) -> None:
        waiting: asyncio.Queue[Claim | None] = asyncio.Queue(maxsize=2 * self._terms.in_flight)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed(waiting), name="feeder")
            for number in range(self._workers):
                group.create_task(self._deliver_all(waiting), name=f"worker {number + 1}")

    async def _feed(self, waiting: asyncio.Queue[Claim | None]) -> None:
        while not self._halted.is_set() and (claims := await self._claim(self._most_at_once())):
            for claim in claims:
                await waiting.put(claim)
        for _ in range(self._workers):
            await waiting.put(None)

    def _most_at_once(self) -> int:
        """Few where the pace is slow, so that no lease ends in the queue; otherwise enough that claiming costs nothing."""
        return CLAIM_AT_ONCE if self._pace.unlimited else 2 * self._terms.in_flight

    async def _claim(self, limit: int) -> list[Claim]:
        ahead = self._workers + 4 * self._terms.in_flight  # with the workers, in the queue, and waiting to get into it
        lease_s = LEASE_S + 2 * self._pace.takes_s(ahead, ahead * self._largest)
        until = self._lease_clock() + lease_s
        claims = await self._journal.claim_batches(
            self._terms.campaign_id, limit=limit, lease_until_s=until, avoiding=tuple(self._avoided_sizes())
        )
        self._held.update({claim.batch_id: claim for claim in claims})
        self._largest = max([self._largest, *(claim.size for claim in claims)])
        return claims

    async def _deliver_all(self, waiting: asyncio.Queue[Claim | None]) -> None:
        while (claim := await waiting.get()) is not None:
            await self._deliver(claim)

    async def _deliver(self, claim: Claim) -> None:
        """One batch, with as many attempts as may follow one that surely was not taken."""
        held = claim

        async def step(last: bool) -> Outcome:
            nonlocal held
            settled = await self._attempt(held, last)
            if settled.decision.then is BatchState.CLAIMED:
                held = replace(held, attempts=settled.submitted.number)
            return settled.outcome

        try:
            await until_taken(step, self._terms.retry, self._sleep_unless_halted)
        except _Withheld:
            await self._journal.release([held])
        if self._held.get(claim.batch_id) is claim:  # else the feeder has it again already
            del self._held[claim.batch_id]

    async def silence(self) -> None:
        """Let nothing more leave, and return when everything under way has its outcome on the disk. Ended by `go_on`."""
        if not self._halted.is_set():  # then nothing more leaves anyway, and who stands at the door must get away
            self._door.clear()
        await self._silence.wait()

    def go_on(self) -> None:
        """End a silence."""
        self._door.set()

    async def _attempt(self, claim: Claim, last: bool) -> Settled:
        async with self._slots:
            self._recheck(claim)
            await self._pace.admit(claim.size, unless=self._halted)
            while not self._door.is_set():
                await self._door.wait()
            self._enter()
            settled = None
            try:
                settled = await self._hand_over(claim, last)
            finally:
                if settled is None:
                    self._leave()
        # The slot is free again before the outcome is on the disk: the disk does not slow the gateway.
        try:
            await self._record(settled)
        finally:
            self._leave()
        self._on_settled(settled)
        if settled.outcome is _WITHDRAWN:
            raise _Withheld
        return settled

    async def _hand_over(self, claim: Claim, last: bool) -> Settled:
        """From the door to the answer."""
        await self._breaker.enter()
        outcome = None
        try:
            self._recheck(claim)
            submitted = await self._intend(claim)
            outcome = await self._submit(submitted)
            settled = self._settle(submitted, outcome, last)
            self._judge(settled.decision.pause, outcome)  # now: other intents may share the commit of this outcome
        finally:
            self._judge(self._breaker.leave(outcome), outcome)
        return settled

    def _enter(self) -> None:
        self._under_way += 1
        self._silence.clear()

    def _leave(self) -> None:
        self._under_way -= 1
        if self._under_way == 0:
            self._silence.set()

    def _recheck(self, claim: Claim) -> None:
        if self._halted.is_set() or self._lease_clock() >= claim.lease_until_s or claim.size in self._avoided_sizes():
            raise _Withheld

    async def _intend(self, claim: Claim) -> Submitted:
        omit = self._opted_out(claim.mobiles)
        try:
            if len(omit) == claim.size:
                await self._journal.cancel_emptied(claim)
                raise _Withheld
            return await self._journal.record_intent(
                self._terms.account, claim, started_at=self._wall_clock(), omit=omit
            )
        except ClaimLost:
            logger.warning("a batch was no longer ours and was not sent", extra={"batch": claim.seq})
            raise _Withheld from None

    async def _submit(self, submitted: Submitted) -> Outcome:
        """From the durable intent to an outcome. A cancellation is recorded before it goes on."""
        intended_s = self._lease_clock()
        sending = False
        try:
            waited_s = await self._pace.gate(submitted.size)
            claim, now_s = submitted.claim, self._lease_clock()
            if now_s >= claim.lease_until_s or now_s - intended_s - waited_s > INTENT_GOOD_FOR_S:
                return _doubt("held back: the machine slept between the intent and the request")
            if self._halted.is_set():
                return _not_sent("sending stopped before the request left")
            if self._opted_out(submitted.mobiles):
                return _WITHDRAWN
            sending = True
            return await self._send(claim.message_id, submitted.mobiles, submitted.size)
        except asyncio.CancelledError:
            cut = _doubt("the run was stopped before the answer came") if sending else _not_sent("the run was stopped")
            await self._record(self._settle(submitted, cut, last=True))
            raise

    def _settle(self, submitted: Submitted, outcome: Outcome, last: bool) -> Settled:
        if outcome is _WITHDRAWN:  # not a failure: no pause, no wait, none of the attempts used up
            return Settled(submitted=submitted, outcome=outcome, decision=Decision(then=BatchState.PLANNED))
        message = self._terms.messages[submitted.claim.message_id]
        decision = decide(
            outcome,
            size=submitted.size,
            segments=message.segments,
            price=self._terms.price,
            single_text=len(self._terms.messages) == 1,
            last_attempt=last,
        )
        return Settled(submitted=submitted, outcome=outcome, decision=decision)

    async def _record(self, settled: Settled) -> None:
        await self._journal.record_outcome(
            self._terms.account,
            settled.submitted,
            settled.outcome,
            finished_at=self._wall_clock(),
            then=settled.decision.then,
            charge=settled.decision.charge,
        )

    def _judge(self, pause: PauseReason | None, outcome: Outcome | None) -> None:
        if pause is not None:
            self.halt(pause, "" if outcome is None else outcome.reason)

    def halt(self, reason: PauseReason, detail: str = "") -> None:
        """Begin nothing more, for this reason; what is in flight comes to its end. The first reason counts."""
        if self._end is None:
            self._end = PoolEnd(reason=reason, detail=detail)
        self._halted.set()
        self._door.set()
        self._breaker.let_go()

    async def _sleep_unless_halted(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._halted.wait()


def _doubt(reason: str) -> Outcome:
    return Outcome(kind=OutcomeKind.IN_DOUBT, reason=reason)


def _not_sent(reason: str) -> Outcome:
    return Outcome(kind=OutcomeKind.NOT_SENT, reason=reason)


async def _first_of(work: asyncio.Task[None], *events: asyncio.Event, timeout: float | None = None) -> None:
    """Return when the task is done or an event is set, or after `timeout` seconds."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait([work, *waits], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
