"""Batch -> Outcome: a pool of workers takes each batch up the ladder

    claim → split while answers get lost → admit (pace) → recheck → bounds (hours, floor) → intent durable → slot
    → gate (exact pace) → lease, hours → POST → outcome durable

Each rung is one method. What an outcome means is decided in decisions.py, when to stop in breaker.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from engine.dispatch.breaker import Breaker
from engine.dispatch.decisions import Decision, decide
from engine.dispatch.finish import finish
from engine.dispatch.lane import Lane, Passage
from engine.dispatch.retry import RetryPolicy, may_be_sent_again, until_taken
from engine.errors import ClaimLost
from engine.journal.port import Journal, Submitted
from engine.language import N_
from engine.model import BatchState, Claim, Message, Outcome, OutcomeKind, PauseReason
from engine.records import record
from engine.telemetry import logger

LEASE_S = 120.0
CLAIM_AT_ONCE = 128
LEAST_LEASE_S = 5.0
"""Longer than a request stands at the slots and the gate: a lease that ends there would make a doubt of what never left."""
INTENT_GOOD_FOR_S = 2.0
"""An intent older than this at the last moment is not sent: the machine slept, or somebody else may hold the batch now."""


class Sender(Protocol):
    """Hands one batch to the gateway. Trouble is an Outcome; only a cancellation is raised."""

    def __call__(self, message: Message, mobiles: str, size: int, /) -> Awaitable[Outcome]: ...


class Supply(Protocol):
    """Where a pool has its batches from."""

    async def claim(self, *, limit: int, lease_until_s: float, avoiding: Sequence[int]) -> list[Claim]:
        """Up to `limit` batches, none of a size in `avoiding`."""
        ...

    async def more(self) -> bool:
        """Wait until there may be something to claim again. False: nothing comes any more. May be cancelled."""
        ...


class Bounds(Protocol):
    """What a pool must stay within beside its pace: hours, points that are to stay."""

    async def admit(self, claim: Claim, /) -> PoolEnd | None:
        """Why this batch may not go; None: it may, and what it costs is kept for it until `leave`."""
        ...

    def closed(self) -> PoolEnd | None:
        """Why nothing may leave at this moment. Asked right before a request leaves, so it must be quick."""
        ...

    def leave(self, claim: Claim, outcome: Outcome | None, /) -> None:
        """What was admitted came to this; None: it never left."""
        ...


@record
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
    single_text: bool
    price: Decimal
    retry: RetryPolicy
    doubts_in_a_row: int
    refusals_in_a_row: int
    grace_s: float
    scheduled_for: datetime | None = None  # when the gateway is to send what it is handed; None: at once


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolEnd:
    """Why the pool ended. No reason: nothing is left that may be claimed."""

    reason: PauseReason | None = None
    detail: str = ""


_WITHDRAWN = Outcome(
    kind=OutcomeKind.NOT_SENT,
    reason=N_("withdrawn: somebody in it opted out before the request left; it goes without them"),
)


_TURNED_BACK = Outcome(
    kind=OutcomeKind.NOT_SENT,
    reason=N_(
        "turned back before the request left: the pace was lowered, silence was wanted, or the gateway asked to "
        "wait or stopped answering"
    ),
)
_CUT = N_("the run was stopped")
_TOO_LATE = Outcome(kind=OutcomeKind.NOT_SENT, reason=N_("turned back: its hours ended before the request left"))


def _goes_back(outcome: Outcome) -> bool:
    """Whether it is no failure: no pause, no wait, none of the attempts used up."""
    return outcome is _WITHDRAWN or outcome is _TURNED_BACK or outcome is _TOO_LATE


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
        lane: Lane,
        wall_clock: Callable[[], datetime],
        lease_clock: Callable[[], float],
        on_settled: Callable[[Settled], None],
        opted_out: Callable[[str], Sequence[str]] = lambda mobiles: (),
        avoided_sizes: Callable[[], Collection[int]] = lambda: (),
        supply: Supply | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        """`supply`: where batches come from; by default, what is planned in the campaign, and nothing later.

        `opted_out`: which of comma-joined numbers have opted out by now. Asked twice an attempt, so it must be quick.

        `avoided_sizes`: batches of these sizes wait; the pool ends when only such are left.
        """
        self._terms, self._journal, self._send, self._lane = terms, journal, send, lane
        self._wall_clock, self._lease_clock, self._on_settled = wall_clock, lease_clock, on_settled
        self._opted_out, self._avoided_sizes = opted_out, avoided_sizes
        self._supply, self._bounds = supply, bounds
        self._breaker = Breaker(doubts=terms.doubts_in_a_row, refusals=terms.refusals_in_a_row)
        self._end: PoolEnd | None = None
        self._workers = 0
        self._held: dict[int, Claim] = {}  # by batch; what nobody has delivered yet
        self.largest = 0  # numbers in a batch, as far as seen
        self._halted = asyncio.Event()
        self._room = asyncio.Event()  # for more claims
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
                self.halt(PauseReason.STOPPED, N_("the run was stopped"))
                await _first_of(work, stop_now, timeout=self._terms.grace_s)
        finally:
            work.cancel()
            try:
                with suppress(asyncio.CancelledError):
                    await work
            finally:  # cancelled or not: what was cut before its turn came would wait for the next process
                await self._give_back()
        return self._end or PoolEnd()

    async def _give_back(self) -> None:
        held, self._held = list(self._held.values()), {}
        if held:
            await self._journal.release(held)

    async def _work(self) -> None:
        try:
            await self._one_at_a_time()
            while not self._halted.is_set() and (claims := await self._next(1)):
                await self._deliver(claims[0])  # also what lost its lease meanwhile and was planned again
                await self._all_at_once()
        except BaseExceptionGroup as failures:  # raised on: the first is the cause
            raise failures.exceptions[0] from failures

    async def _one_at_a_time(self) -> None:
        """The first batch of a run goes alone, and so does the next until the gateway's application has answered."""
        while not self._breaker.answered and not self._halted.is_set():
            claims = await self._next(1)
            if not claims:
                return
            await self._deliver(claims[0])

    async def _all_at_once(self) -> None:
        waiting: asyncio.Queue[Claim | None] = asyncio.Queue()
        self._workers = 0
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed(waiting, group), name="feeder")

    async def _feed(self, waiting: asyncio.Queue[Claim | None], group: asyncio.TaskGroup) -> None:
        self._employ(group, waiting)
        while not self._halted.is_set() and (claims := await self._next(self._most_at_once())):
            self._employ(group, waiting)
            for claim in claims:
                waiting.put_nowait(claim)
            # A place for each, waited for one by one, would cost a turn of the loop for each.
            while self._are_enough(waiting):
                self._room.clear()
                await self._room.wait()
        for _ in range(self._workers):
            waiting.put_nowait(None)

    def _are_enough(self, waiting: asyncio.Queue[Claim | None]) -> bool:
        return waiting.qsize() > self._lane.limits.in_flight

    def _employ(self, group: asyncio.TaskGroup, waiting: asyncio.Queue[Claim | None]) -> None:
        """For each slot one that has it, one that is ready for it, and two whose outcomes are being written.

        With fewer, the journal's groups are small, and each waits for the disk. More slots may be allowed while the pool runs.
        """
        while self._workers < 4 * self._lane.limits.in_flight:
            self._workers += 1
            group.create_task(self._deliver_all(waiting), name=f"worker {self._workers}")

    def _most_at_once(self) -> int:
        """Few where the pace is slow, so that no lease ends in the queue; otherwise enough that claiming costs nothing."""
        return CLAIM_AT_ONCE if self._lane.pace.unlimited else 2 * self._lane.limits.in_flight

    async def _next(self, limit: int) -> list[Claim]:
        """Claims, now or when there are some again. Empty: nothing comes any more, or sending has stopped."""
        while not (claims := await self._claim(limit)) and not self._halted.is_set():
            if not await self._more():
                break
        return claims

    async def _more(self) -> bool:
        """Whether there may be something to claim again before sending stops."""
        if self._supply is None:
            return False
        coming, stopping = asyncio.ensure_future(self._supply.more()), asyncio.ensure_future(self._halted.wait())
        try:
            await asyncio.wait((coming, stopping), return_when=asyncio.FIRST_COMPLETED)
            return coming.done() and coming.result()
        finally:
            stopping.cancel()
            coming.cancel()

    async def _claim(self, limit: int) -> list[Claim]:
        return await finish(self._take(limit))  # cancelled, it is held all the same, and given back

    async def _take(self, limit: int) -> list[Claim]:
        ahead = 8 * self._lane.limits.in_flight  # with the workers, in the queue, and waiting to get into it
        lease_s = LEASE_S + 2 * self._lane.pace.takes_s(ahead, ahead * self.largest)
        until = self._lease_clock() + lease_s
        avoiding = tuple(self._avoided_sizes())
        if self._supply is None:
            claims = await self._journal.claim_batches(
                self._terms.campaign_id, limit=limit, lease_until_s=until, avoiding=avoiding
            )
        else:
            claims = await self._supply.claim(limit=limit, lease_until_s=until, avoiding=avoiding)
        self._held.update({claim.batch_id: claim for claim in claims})
        self.largest = max([self.largest, *(claim.size for claim in claims)])
        return claims

    async def _deliver_all(self, waiting: asyncio.Queue[Claim | None]) -> None:
        while (claim := await waiting.get()) is not None:
            if not self._are_enough(waiting):
                self._room.set()
            await self._deliver(claim)

    async def _deliver(self, claim: Claim) -> None:
        """One batch; while answers get lost, its parts."""
        sizes = self._lane.parts_of(claim.size, self._avoided_sizes)
        if len(sizes) == 1 or self._halted.is_set() or self._held.get(claim.batch_id) is not claim:
            await self._deliver_whole(claim)
            return
        for part in await finish(self._split(claim, sizes)):
            await self._deliver_whole(part)

    async def _split(self, claim: Claim, sizes: Sequence[int]) -> list[Claim]:
        try:
            parts = await self._journal.split_batch(claim, sizes)
        except ClaimLost:
            logger.warning("a batch was no longer ours and was not split", extra={"batch": claim.seq})
            parts = []
        self._let_go(claim)
        self._held.update({part.batch_id: part for part in parts})
        return parts

    async def _deliver_whole(self, claim: Claim) -> None:
        """One batch, with as many attempts as may follow one that surely was not taken."""
        attempts = self._terms.retry.attempts
        with suppress(_Withheld):
            first = await self._attempt(claim, attempts == 1)
            # Hardly ever: what tenacity does costs a tenth of a request.
            if attempts > 1 and may_be_sent_again(first.outcome):
                await self._deliver_again(claim, first.outcome)

    async def _deliver_again(self, claim: Claim, first: Outcome) -> None:
        """What a first attempt has left as it was. Raises _Withheld."""

        async def step(last: bool) -> Outcome:
            return (await self._attempt(self._held.get(claim.batch_id, claim), last)).outcome

        await until_taken(first, step, self._terms.retry, self._sleep_unless_halted)

    def _let_go(self, claim: Claim) -> None:
        """It is nobody's any more, or the feeder has it again already."""
        if self._held.get(claim.batch_id) is claim:
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
        """One attempt with its outcome on the disk. Raises _Withheld when the batch is back among the planned ones."""
        try:
            settled = await self._pass(claim, last)
        except _Withheld:
            await self._journal.release([claim])
            self._let_go(claim)
            raise
        is_kept = settled.decision.then is BatchState.CLAIMED
        if is_kept:  # the right to another attempt counts from this one
            self._held[claim.batch_id] = replace(claim, attempts=settled.submitted.number)
        # The slot is free again before the outcome is on the disk: the disk does not slow the gateway.
        try:
            await self._record(settled)
        finally:
            self._leave()
        if not is_kept:
            self._let_go(claim)
        self._on_settled(settled)
        if _goes_back(settled.outcome):
            raise _Withheld
        return settled

    async def _pass(self, claim: Claim, last: bool) -> Settled:
        """Through the lane and past the door. Raises _Withheld: nothing left, the claim is to be given back."""
        passage = await self._lane.enter(claim.size, unless=self._halted)
        if passage is None:
            raise _Withheld
        try:
            return await self._past_the_door(claim, passage, last)
        finally:
            passage.close()

    async def _past_the_door(self, claim: Claim, passage: Passage, last: bool) -> Settled:
        """From the pace to the answer. What was settled stays under way until it is on the disk."""
        while not self._door.is_set():
            await self._door.wait()
        self._enter()
        settled = None
        try:
            settled = await self._hand_over(claim, passage, last)
        finally:
            if settled is None:
                self._leave()
        return settled

    async def _hand_over(self, claim: Claim, passage: Passage, last: bool) -> Settled:
        """From the door to the answer."""
        await self._breaker.enter()
        outcome, admitted = None, False
        try:
            self._recheck(claim)
            admitted = await self._admit(claim)
            if admitted:  # near the floor that took as long as answers take
                self._recheck(claim)
            submitted = await self._intend(claim)
            outcome = await self._submit(submitted, passage)
            settled = self._settle(submitted, outcome, last)
            self._judge(settled.decision.pause, outcome)  # now: other intents may share the commit of this outcome
        finally:
            if admitted and self._bounds is not None:
                self._bounds.leave(claim, outcome)
            self._judge(self._breaker.leave(outcome), outcome)
        return settled

    async def _admit(self, claim: Claim) -> bool:
        """Keep within the bounds, or stop for them."""
        if self._bounds is None:
            return False
        if (end := await self._bounds.admit(claim)) is not None:
            self._stop_for(end)
            raise _Withheld
        return True

    def _stop_for(self, end: PoolEnd) -> None:
        assert end.reason is not None
        self.halt(end.reason, end.detail)

    def _enter(self) -> None:
        self._under_way += 1
        self._silence.clear()

    def _leave(self) -> None:
        self._under_way -= 1
        if self._under_way == 0:
            self._silence.set()

    def _recheck(self, claim: Claim) -> None:
        lasts_s = claim.lease_until_s - self._lease_clock()
        if self._halted.is_set() or lasts_s <= LEAST_LEASE_S or claim.size in self._avoided_sizes():
            raise _Withheld

    async def _intend(self, claim: Claim) -> Submitted:
        omit = self._opted_out(claim.mobiles)
        try:
            if len(omit) == claim.size:
                await self._journal.cancel_emptied(claim)
                raise _Withheld
            return await self._journal.record_intent(
                self._terms.account,
                claim,
                started_at=self._wall_clock(),
                omit=omit,
                scheduled_for=self._terms.scheduled_for,
            )
        except asyncio.CancelledError:  # the intent may be on the disk by now, and nothing has left
            await self._journal.withdraw(claim, at=self._wall_clock(), reason=_CUT)
            raise
        except ClaimLost:
            logger.warning("a batch was no longer ours and was not sent", extra={"batch": claim.seq})
            raise _Withheld from None

    async def _submit(self, submitted: Submitted, passage: Passage) -> Outcome:
        """From the durable intent to an outcome. A cancellation is recorded before it goes on."""
        intended_s = self._lease_clock()
        sending = False
        try:
            waited_s = await passage.leave(submitted.size)
            if waited_s is None or self._breaker.holds_back or not self._door.is_set():
                return _TURNED_BACK
            claim, now_s = submitted.claim, self._lease_clock()
            if now_s >= claim.lease_until_s or now_s - intended_s - waited_s > INTENT_GOOD_FOR_S:
                return _doubt(N_("held back: the machine slept between the intent and the request"))
            if self._halted.is_set():
                return _not_sent(N_("sending stopped before the request left"))
            if self._opted_out(submitted.mobiles):
                return _WITHDRAWN
            if self._bounds is not None and (end := self._bounds.closed()) is not None:
                self._stop_for(end)
                return _TOO_LATE
            sending = True
            outcome = await self._send(claim.message, submitted.mobiles, submitted.size)
        except asyncio.CancelledError:
            cut = _doubt(N_("the run was stopped before the answer came")) if sending else _not_sent(_CUT)
            await self._record(self._settle(submitted, cut, last=True))
            raise
        self._lane.note(outcome, size=submitted.size, left_s=passage.left_s)
        return outcome

    def _settle(self, submitted: Submitted, outcome: Outcome, last: bool) -> Settled:
        if _goes_back(outcome):
            return Settled(submitted=submitted, outcome=outcome, decision=Decision(then=BatchState.PLANNED))
        decision = decide(
            outcome,
            size=submitted.size,
            segments=submitted.claim.message.segments,
            price=self._terms.price,
            single_text=self._terms.single_text,
            last_attempt=last,
            throttled_for_good=self._lane.throttle.is_hopeless,
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
        self._lane.let_go()

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
