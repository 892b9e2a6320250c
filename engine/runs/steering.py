"""What orders from outside do to a run: pause, resume, cancel and pace, whether the campaign is being sent or not."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from engine.dispatch.lane import Lane, changed
from engine.dispatch.pacing import numbers_that_fit
from engine.dispatch.pool import Pool, PoolEnd
from engine.dispatch.schedule import date_words
from engine.dispatch.timetable import Timetable
from engine.dispatch.waiting import first_of
from engine.errors import PlanError
from engine.journal.port import CampaignRecord, Journal
from engine.language import N_, _, _n
from engine.model import BatchState, CampaignState, PauseReason
from engine.runs.control import WHOSE, Order, Word

PAUSED = N_("paused by the operator")
SENDING = N_("sending")
_OPEN = (BatchState.PLANNED, BatchState.CLAIMED, BatchState.SUBMITTING, BatchState.IN_DOUBT)
_OF_THE_REST = {"pause": N_("pause"), "resume": N_("resume"), "cancel": N_("cancel")}
LOOK_S = 1.0
"""How often the clock is looked at while the hours are closed: it may be set."""


class Growing(Protocol):
    """What sends campaigns that grow meanwhile."""

    campaigns: dict[int, str]  # their names
    pool: Pool | None

    async def steered(self, verb: str, campaign: str) -> None:
        """An order for a campaign was written into the journal."""
        ...


class Steering:
    """Holds the orders of one owner of a journal. `on_order` answers them; `drive` runs a campaign under them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._campaign_id: int | None = None
        self.pool: Pool | None = None  # what is sending now
        self.lane: Lane | None = None  # on which it is sent
        self.standing: Callable[[], str] = lambda: ""  # what else is to say of the run, in words
        self._paused = False
        self.cancelled = asyncio.Event()
        self._goes_on = asyncio.Event()
        self._ordered = asyncio.Event()  # something was ordered for the campaign that is owned
        self._growing: Growing | None = None

    @contextmanager
    def consuming(self, growing: Growing) -> Iterator[None]:
        """Orders for its campaigns are told to it in the block."""
        self._growing = growing
        try:
            yield
        finally:
            self._growing = None

    @contextmanager
    def owning(self, record: CampaignRecord) -> Iterator[None]:
        """Orders for this campaign are meant for what happens in the block."""
        self._campaign_id, self._paused = record.campaign_id, False
        self.cancelled.clear()
        try:
            yield
        finally:
            self._campaign_id = None

    async def drive(
        self,
        record: CampaignRecord,
        make_pool: Callable[[], Awaitable[Pool]],
        *,
        stop: asyncio.Event,
        stop_now: asyncio.Event,
        tell: Callable[[str], None],
    ) -> PoolEnd | None:
        """Run pools until one ends for a reason of its own. A pause waits here for its end. None: it was cancelled."""
        try:
            while not self.cancelled.is_set():
                if self._paused:
                    await self._write_pause(record)
                    tell(PAUSED)
                    await first_of(self._goes_on, stop)
                    if stop.is_set():
                        return PoolEnd(reason=PauseReason.OPERATOR, detail=PAUSED)
                    continue
                await self._journal.set_campaign_state(record.campaign_id, CampaignState.RUNNING)
                tell(SENDING)
                self.pool = await make_pool()
                if self.is_held:  # the order came when there was no pool yet that could be halted
                    continue
                end = await self.pool.run(stop=stop, stop_now=stop_now)
                if end.reason is not PauseReason.OPERATOR and not self.cancelled.is_set():
                    return end
        finally:
            self.pool = None
        await self._journal.cancel_campaign(record.campaign_id)
        return None

    @property
    def is_paused(self) -> bool:
        """Whether somebody wants the campaign to stand."""
        return self._paused

    @property
    def is_held(self) -> bool:
        """Whether somebody wants the campaign to stand, or never to be sent."""
        return self._paused or self.cancelled.is_set()

    def halt(self, end: PoolEnd) -> None:
        """Let what is sending stop for this reason."""
        assert end.reason is not None
        if self.pool is not None:
            self.pool.halt(end.reason, end.detail)

    async def while_held(self, record: CampaignRecord, *, stop: asyncio.Event, tell: Callable[[str], None]) -> bool:
        """Stand as long as somebody wants that, or until `stop`. False: the campaign is cancelled."""
        if self._paused and not self.cancelled.is_set():
            await self._write_pause(record)
            tell(PAUSED)
            await first_of(self._goes_on, stop)
            if not self.is_paused:  # stopped while it stands, it is paused for whoever comes next
                await self._journal.set_campaign_state(record.campaign_id, CampaignState.RUNNING)
        if self.cancelled.is_set():
            await self._journal.cancel_campaign(record.campaign_id)
        return not self.cancelled.is_set()

    async def until_open(
        self, record: CampaignRecord, timetable: Timetable, *, stop: asyncio.Event, tell: Callable[[str], None]
    ) -> PoolEnd | None:
        """Wait until a campaign may send, has expired or is cancelled. Not None: the wait was stopped."""
        shown = ""
        while not self.cancelled.is_set():
            self._ordered.clear()
            if not self._paused and (timetable.is_open or timetable.has_expired):
                return None
            reason, words = PauseReason.WINDOW, timetable.words()
            if self._paused:
                reason, words = PauseReason.OPERATOR, PAUSED
            if words != shown:
                shown = words
                await self._journal.set_campaign_state(record.campaign_id, CampaignState.PAUSED, (reason,), words)
                tell(words)
            await first_of(self._ordered, stop, timeout=min(LOOK_S, timetable.waits_s) or LOOK_S)
            if stop.is_set():
                return PoolEnd(reason=reason, detail=words)
        return None

    async def on_order(self, order: Order) -> Word:
        """Carry out an order, here and in the journal. Raises PlanError, JournalError."""
        record = await self._journal.find_campaign(name=order.campaign)
        if record is None:
            raise PlanError(
                _("there is no campaign named {campaign!r}; `xinshi status` lists them").format(campaign=order.campaign)
            )
        if record.stored_state is CampaignState.CANCELLED:
            return Word(done=order.verb == "cancel", words=_("{name} is cancelled already").format(name=record.name))
        running = record.campaign_id == self._campaign_id
        if order.verb == WHOSE:
            growing = self._growing is not None and record.campaign_id in self._growing.campaigns
            return Word(done=running or growing, words="")
        if self._growing is not None and record.campaign_id in self._growing.campaigns:
            return await self._on_growing(self._growing, record, order)
        if order.verb in _OF_THE_REST and not running and not record.grows and not await self._is_open(record):
            words = _("{name} is finished: nothing of it is left to {verb}")
            return Word(done=True, words=words.format(name=record.name, verb=_(_OF_THE_REST[order.verb])))
        match order.verb:
            case "pause":
                return await self._pause(record, running)
            case "resume":
                return await self._resume(record, running)
            case "cancel":
                return await self._cancel(record, running)
            case "pace":
                return await self._pace(record, running, order.words)
            case _:
                return Word(done=False, words=_("nobody here knows the order {verb!r}").format(verb=order.verb))

    async def _is_open(self, record: CampaignRecord) -> bool:
        """Whether anything of it may still be sent, or come to be."""
        counts = await self._journal.counts(record.campaign_id)
        return any(counts.states[state].batches for state in _OPEN if state in counts.states)

    async def _on_growing(self, growing: Growing, record: CampaignRecord, order: Order) -> Word:
        """Of several campaigns one: the journal says who may send, and the pool looks there."""
        match order.verb:
            case "pause":
                await self._pause(record, running=False)
                words = _("{name} pauses; answers under way are awaited").format(name=record.name)
            case "resume":
                await self._resume(record, running=False)
                words = _("{name} goes on").format(name=record.name)
            case "cancel":
                await self._cancel(record, running=False)
                words = _("{name} is being cancelled; answers under way are awaited").format(name=record.name)
            case "pace":
                return await self._pace(record, True, order.words)
            case _:
                return Word(done=False, words=_("nobody here knows the order {verb!r}").format(verb=order.verb))
        await growing.steered(order.verb, record.name)
        return Word(done=True, words=words)

    async def _pause(self, record: CampaignRecord, running: bool) -> Word:
        if running:
            self._paused = True
            self._goes_on.clear()
            self._ordered.set()
            self._halt()
            await self._write_pause(record)  # before it is answered: whoever is killed meanwhile must not go on
            return Word(done=True, words=_("{name} pauses; answers under way are awaited").format(name=record.name))
        await self._write_pause(record)
        return Word(done=True, words=_("{name} is paused; go on with: xinshi resume {name}").format(name=record.name))

    async def _write_pause(self, record: CampaignRecord) -> None:
        await self._journal.set_campaign_state(
            record.campaign_id, CampaignState.PAUSED, (PauseReason.OPERATOR,), PAUSED
        )

    async def _resume(self, record: CampaignRecord, running: bool) -> Word:
        if running:
            self._paused = False
            self._goes_on.set()
            self._ordered.set()
            if PauseReason.OPERATOR in record.reasons:
                await self._journal.set_campaign_state(record.campaign_id, CampaignState.RUNNING)
            return Word(done=True, words=_("{name} goes on").format(name=record.name))
        if PauseReason.OPERATOR in record.reasons:
            await self._journal.set_campaign_state(record.campaign_id, CampaignState.PLANNED)
        return Word(
            done=True,
            words=_("{name} may be sent again; no process sends it now: xinshi run {name}").format(name=record.name),
        )

    async def _cancel(self, record: CampaignRecord, running: bool) -> Word:
        if running:
            self.cancelled.set()
            self._goes_on.set()
            self._ordered.set()
            self._halt()
            await self._journal.cancel_campaign(record.campaign_id)  # before it is answered, as a pause
            words = _("{name} is being cancelled; answers under way are awaited").format(name=record.name)
            return Word(done=True, words=words + _beyond_recall(record))
        size = await self._journal.cancel_campaign(record.campaign_id)
        words = _n(
            "{name} is cancelled: {size:,} recipient will not be sent to",
            "{name} is cancelled: {size:,} recipients will not be sent to",
            size,
        ).format(name=record.name, size=size)
        return Word(done=True, words=words + _beyond_recall(record))

    async def _pace(self, record: CampaignRecord, running: bool, words: Sequence[str]) -> Word:
        """Tell the pace and what holds it back; with words change it first, until this process ends."""
        if not running or self.lane is None:
            return Word(
                done=not words,
                words=_(
                    "no process sends {name} now; its pace is the one given to `send` or `run`, else [pace]"
                ).format(name=record.name),
            )
        if words:
            await self._change_pace(self.lane, record, words)
        limits, by = self.lane.limits, self.lane.words()
        rates = (
            _("{rate:,g} requests a second").format(rate=limits.requests_per_second)
            if limits.requests_per_second
            else "",
            _("{rate:,g} numbers a second").format(rate=limits.numbers_per_second) if limits.numbers_per_second else "",
        )
        pace = _(" and ").join(filter(None, rates)) or _("no limit")
        parts = [
            _("{pace}, {in_flight:,} in flight").format(pace=pace, in_flight=limits.in_flight),
            _("{rate:,.3g} requests a second lately").format(rate=self.lane.pace.rate),
        ]
        parts += [_("held back by {by}").format(by=by)] if by else []
        parts += [more] if (more := self.standing()) else []
        parts += [self._lasts(record, words)] if words else []
        return Word(done=True, words="; ".join(parts))

    def _lasts(self, record: CampaignRecord, words: Sequence[str]) -> str:
        """How long a new pace holds, and how to keep it."""
        given = [(key, f"{float(value):g}") for key, __, value in (word.partition("=") for word in words)]
        lasts = _(
            "this pace ends with the process that sends; to keep it for the account, set {keys} under [pace] in the settings"
        ).format(keys=_(" and ").join(key for key, __ in given))
        if self._growing is not None:
            return lasts
        flags = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in given)
        return lasts + _(", for this campaign: xinshi run {name} {flags}").format(name=record.name, flags=flags)

    async def _change_pace(self, lane: Lane, record: CampaignRecord, words: Sequence[str]) -> None:
        limits = changed(lane.limits, words)
        fits = numbers_that_fit(limits.numbers_per_second, lane.pace.window_s)
        if fits is not None:
            planned = await self._journal.planned_sizes(record.campaign_id)
            largest = max([*(size for __, size, __ in planned), 0 if self.pool is None else self.pool.largest])
            if largest > fits:
                raise PlanError(
                    _(
                        "batches of {largest} numbers are planned, and {rate:g} numbers a second let {fits} through at once; the "
                        "least that fits is {least}"
                    ).format(
                        largest=largest,
                        rate=limits.numbers_per_second,
                        fits=fits,
                        least=math.ceil(largest / lane.pace.window_s),
                    )
                )
        lane.change(limits)

    def _halt(self) -> None:
        if self.pool is not None:
            self.pool.halt(PauseReason.OPERATOR, PAUSED)


def _beyond_recall(record: CampaignRecord) -> str:
    """What cancelling does not reach."""
    at = record.conduct.scheduled_for
    if at is None:
        return ""
    return _("; what was handed over before cannot be taken back: the gateway sends it at {moment}").format(
        moment=date_words(at)
    )
