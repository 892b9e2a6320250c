"""One poller of one account and URL: ask, keep the answer, read it, join it.

Whatever the gateway answers it answers once. So a poll is noted before it is asked, its answer is on the disk before
anybody reads it, and an answer that cannot be read stays there. Source: gateway/protocol.md §8-§11.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Protocol

from engine.errors import BadAnswer, GatewayError, JournalError, NoAnswer, NotSent
from engine.gateway.polls import Polled
from engine.journal.port import KeptPoll, PollAnswer, PollKind, PollOutcome, PollRead, TrackingJournal
from engine.language import _
from engine.telemetry import logger
from engine.tracking.optouts import OPT_OUT_WORDS, Barred
from engine.tracking.reading import Told, tell

NOTHING_NEW_MOST = 3
"""Answers in a row that tell only what is known already; then the queue counts as read. Some gateways never forget."""

KEEP_TRIES, KEEP_AGAIN_S = 3, 0.5
"""Another program may hold the journal for some seconds, and a full disk have room again."""

LONG = 2_000
"""Reports that were told by a queue that is not at its end yet; then nobody waits for that end any more."""


class Answer(Protocol):
    """What the gateway's adapter hands over."""

    @property
    def at(self) -> datetime: ...
    @property
    def http_status(self) -> int: ...
    @property
    def charset(self) -> str | None: ...
    @property
    def complete(self) -> bool: ...
    @property
    def body(self) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Seconds between polls that found little, and after failures: these double up to `failure_max_s`.

    `failures_most` in a row end a reading to the end.
    """

    interval_s: float
    failure_s: float
    failure_max_s: float
    failures_most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """Everything a poller needs of the world. `ask` takes a count (ignored where the gateway takes none).

    `most` says how many records to ask for next, None where the gateway takes no count. Opted-out numbers are `barred` before they
    are durable: sooner is never wrong. Those that are not opted out all the same leave it: their reply was told before, and the
    opt-out taken back.
    """

    account: str
    ask: Callable[[int], Awaitable[Answer]]
    read: Callable[[bytes, str | None], Polled]
    journal: TrackingJournal
    most: Callable[[], int | None]
    clock: Callable[[], datetime]
    barred: Barred
    opt_out_words: Collection[str] = OPT_OUT_WORDS
    opts_out_everywhere: bool = False  # from every account, not from this one alone
    on_read: Callable[[int, int], None] = lambda reports, replies: None  # how many of each an answer held


class Step(Enum):
    """What one poll came to, which decides when the next follows."""

    FULL = auto()  # more may wait
    SOME = auto()
    EMPTY = auto()
    FAILED = auto()
    STOPPED = auto()  # the gateway does not want to be asked again


class Poller:
    """Polls until it is asked to stop, or the gateway says that there is nothing for it here. A poll begun is finished."""

    def __init__(self, kind: PollKind, seam: Seam, waits: Waits) -> None:
        self.kind, self._seam, self._waits = kind, seam, waits
        self.caught_up = asyncio.Event()
        """Set once the queue was found empty, or when waiting for that is in vain."""
        self.asked = self.records = self.fresh = self.opted_out = self.lost = self.unreadable = 0
        self.stopped = ""  # why it does not ask any more
        self.trouble = ""  # what went wrong last; "" when the last poll went well
        self._nothing_new = 0

    async def run(self, stop: asyncio.Event, *, until_empty: bool = False) -> None:
        """Poll until `stop`; with `until_empty` until the queue is empty or too many polls in a row failed.

        Raises JournalError where an answer could not be kept or joined.
        """
        failures, at_end = 0, False
        coming: asyncio.Task[KeptPoll | str] | None = None  # asked for while the answer before it is read
        try:
            while not stop.is_set() and not self.stopped:
                came = await (coming or self._fetch())
                coming = asyncio.create_task(self._fetch()) if self._asks_ahead(came) else None
                step = await self._carry_out(came)
                failures = failures + 1 if step is Step.FAILED else 0
                at_end = at_end or (step is not Step.FULL and step is not Step.SOME)
                if at_end or self._is_long:
                    self.caught_up.set()
                if until_empty and (step is Step.EMPTY or failures >= self._waits.failures_most):
                    break
                # Until the queue was seen empty once, it may hold what was reported before our time.
                eager = until_empty or not at_end
                await _unless(stop, 0.0 if coming is not None else self._wait_s(step, failures, eager=eager))
            if coming is not None:  # what was asked for is the only copy
                await self._carry_out(await coming)
        finally:
            self.caught_up.set()
            if coming is not None:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)

    @property
    def _is_long(self) -> bool:
        # Replies say who is not to be sent to, and are worth the whole wait.
        return self.kind is PollKind.REPORT and self.records >= LONG

    def _wait_s(self, step: Step, failures: int, *, eager: bool) -> float:
        waits = self._waits
        match step:
            case Step.FULL | Step.STOPPED:
                return 0.0
            case Step.SOME if eager:
                return 0.0
            case Step.FAILED:
                return min(waits.failure_s * 2.0 ** min(failures - 1, 30), waits.failure_max_s)
            case _:
                return waits.interval_s

    async def poll(self) -> Step:
        """Ask once, and carry out what the answer says."""
        return await self._carry_out(await self._fetch())

    async def _fetch(self) -> KeptPoll | str:
        """Ask once. Returns the answer, on the disk, or why there is none."""
        seam, most = self._seam, self._seam.most()
        try:
            poll_id = await seam.journal.begin_poll(seam.account, self.kind, asked_at=seam.clock(), most=most)
        except JournalError as error:  # what cannot be kept must not be asked for; a full disk may have room again
            return self._not_begun(str(error))
        self.asked += 1
        answer = await self._ask(poll_id, most)
        if isinstance(answer, PollAnswer):
            await self._keep(poll_id, answer)
            return KeptPoll(poll_id=poll_id, kind=self.kind, most=most, answer=answer)
        return answer

    def _not_begun(self, problem: str) -> str:
        if problem != self.trouble:
            logger.warning(
                "a poll could not be begun; trying again later", extra={"kind": self.kind.value, "problem": problem}
            )
        return problem

    async def _keep(self, poll_id: int, answer: PollAnswer) -> None:
        """What is in our hands is the only copy: where the journal cannot take it, it is asked again. Raises JournalError."""
        for _again in range(KEEP_TRIES - 1):
            try:
                return await self._seam.journal.keep_answer(poll_id, answer)
            except JournalError as error:
                logger.warning(
                    "the answer to a poll could not be kept; trying again",
                    extra={"kind": self.kind.value, "problem": str(error)},
                )
                await asyncio.sleep(KEEP_AGAIN_S)
        return await self._seam.journal.keep_answer(poll_id, answer)

    def _asks_ahead(self, came: KeptPoll | str) -> bool:
        """Whether more certainly waits: as many reports came as were asked for, and the last answer told news."""
        if isinstance(came, str) or came.most is None or self._nothing_new:
            return False
        return came.answer.complete and came.answer.body.count(b"<statusbox>") >= came.most

    async def _carry_out(self, came: KeptPoll | str) -> Step:
        if isinstance(came, KeptPoll):
            return await self.apply(came)
        self.trouble = came
        return Step.FAILED

    async def _ask(self, poll_id: int, most: int | None) -> PollAnswer | str:
        try:
            answer = await self._seam.ask(most or 0)
        except asyncio.CancelledError:
            await self._end(poll_id, PollOutcome.LOST, _("the poll was cut"))
            raise
        except GatewayError as error:
            await self._end(poll_id, _outcome(error), str(error))
            return str(error)
        return PollAnswer(
            at=answer.at,
            http_status=answer.http_status,
            charset=answer.charset,
            complete=answer.complete,
            body=answer.body,
        )

    async def _end(self, poll_id: int, outcome: PollOutcome, problem: str) -> None:
        if outcome is PollOutcome.LOST:
            self.lost += 1
            logger.warning("the answer to a poll was lost", extra={"kind": self.kind.value, "problem": problem})
        await self._seam.journal.end_poll(poll_id, outcome, at=self._seam.clock(), problem=problem)

    async def apply(self, kept: KeptPoll) -> Step:
        """Read a kept answer and join what it holds. Again is nothing."""
        seam = self._seam
        try:
            told = await asyncio.to_thread(self._read, kept)
        except Exception as error:  # noqa: BLE001  whatever a reader trips over: the answer is kept, and the next one comes
            await self._cannot_read(kept, error)
            return Step.FAILED
        seam.barred.add(told.opted_out)
        read = PollRead(
            at=seam.clock(),
            records=told.records,
            said=told.said,
            problem=told.problem,
            reports=told.reports,
            replies=told.replies,
            opts_out_everywhere=seam.opts_out_everywhere,
        )
        fresh = await seam.journal.apply_poll(seam.account, kept.poll_id, read)
        if told.opted_out:
            since = seam.barred.additions
            out = await seam.journal.opted_out_among(told.opted_out, seam.account)
            seam.barred.remove([mobile for mobile in told.opted_out if mobile not in out], since=since)
        self.records += told.records
        self.fresh += fresh
        self.opted_out += len(told.opted_out)
        if told.records:
            seam.on_read(len(told.reports), len(told.replies))
        return self._judge(kept, told, fresh)

    def _read(self, kept: KeptPoll) -> Told:
        answer = kept.answer
        return tell(
            self._seam.read(answer.body, answer.charset),
            complete=answer.complete,
            opt_out_words=self._seam.opt_out_words,
        )

    async def _cannot_read(self, kept: KeptPoll, error: Exception) -> None:
        # The words of a foreign exception may hold what people wrote; ours do not.
        name = type(error).__name__
        self.trouble = str(error) if isinstance(error, BadAnswer) else name
        self.unreadable += 1
        logger.error(
            "the answer to a poll cannot be read; it is kept for `xinshi track --replay`",
            extra={"kind": self.kind.value, "poll": kept.poll_id, "problem": self.trouble},
        )
        await self._seam.journal.note_unreadable(kept.poll_id, f"{name}: {error}")

    def _judge(self, kept: KeptPoll, told: Told, fresh: int) -> Step:
        if told.records:
            self._nothing_new = 0 if fresh else self._nothing_new + 1
        self.trouble = "" if told.records else told.said or told.problem
        if told.stop:
            self.stopped = told.stop
            logger.warning("polling has stopped", extra={"kind": self.kind.value, "reason": told.stop})
            return Step.STOPPED
        if self.trouble:
            return Step.FAILED
        if not told.records or self._nothing_new >= NOTHING_NEW_MOST:
            return Step.EMPTY
        # Replies come without a count: nobody knows whether these were all.
        return Step.FULL if kept.most is None or told.records >= kept.most else Step.SOME


def _outcome(error: GatewayError) -> PollOutcome:
    """Whether records may be gone: not where nothing was asked, nor where somebody before the application said no."""
    match error:
        case NotSent():
            return PollOutcome.NOT_TAKEN
        case NoAnswer():
            return PollOutcome.LOST
        case _:
            turned_away = error.http_status is not None and 400 <= error.http_status < 500
            return PollOutcome.NOT_TAKEN if turned_away else PollOutcome.LOST


async def _unless(stop: asyncio.Event, seconds: float) -> None:
    """Wait, but not beyond `stop`."""
    if seconds <= 0:
        return
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


async def replay(journal: TrackingJournal, account: str, pollers: Iterable[Poller], *, untried: bool = False) -> int:
    """Read kept answers again that could not be read, or not wholly. Returns how many can be read now. Raises JournalError.

    `untried`: only those that nobody has tried to read, because the process that asked for them was killed.
    """
    by_kind = {poller.kind: poller for poller in pollers}
    done = after = 0
    while kept := await journal.kept_polls(account, after=after, untried=untried):
        for each in kept:
            before = by_kind[each.kind].unreadable
            await by_kind[each.kind].apply(each)
            done += by_kind[each.kind].unreadable == before
        after = kept[-1].poll_id
    return done
