"""The engine for programs: open, plan, run, follow.

    async with engine.open("xinshi.toml") as xinshi:
        campaign = await xinshi.plan(rows, text="{姓名}您好，春季新品到店", signature="某某商城")
        async for event in campaign.events():
            print(event)

Nothing here is shared between two engines of a process but the log and what it hides.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from engine.clock import wall_time
from engine.errors import IntakeError, PlanError
from engine.events import BatchAccepted, BatchInDoubt, BatchRefused, Event, Planned
from engine.intake.kept import kept_folder
from engine.journal.port import CampaignRecord
from engine.language import N_, _
from engine.ledger.summary import CampaignSummary
from engine.live import Live, Stop
from engine.model import Balance
from engine.orders.conduct import Wish
from engine.orders.pipeline import Pipeline
from engine.orders.plans import SendOrder
from engine.orders.spool import Rows, spooled
from engine.patience import Sending, opened, planned
from engine.runs.control import Order
from engine.runs.looking import overdue_before, summary_of
from engine.runtime import Engine as Machine
from engine.settings import DEFAULT_ACCOUNT, Settings, load_settings
from engine.telemetry import logger

FOLLOWED_MOST = 1_000
"""Events that may wait for who follows; from then on batches of one kind are told as one."""


@asynccontextmanager
async def open(
    config: Path | str | None = None,
    *,
    account: str = DEFAULT_ACCOUNT,
    settings: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    wait: bool = False,
) -> AsyncIterator[Engine]:
    """Own a journal and an account. At the end of the block running campaigns stop gently.

    `config` is the settings file, by default the command line's; `settings` goes over it and over the environment
    (`environ`, by default the process's), by dotted key: `{"account.url": …, "account.password": …, "journal.url": …}`.
    `wait`: while another process has the journal or the account. Raises SettingsError, JournalBusy, SchemaMismatch, JournalError.
    """
    loaded = load_settings(None if config is None else Path(config), overrides=settings or {}, environ=environ)
    async with opened(loaded, account, waits=wait, announce=logger.info) as machine:
        made = Engine(machine)
        try:
            yield made
        finally:
            await made.close()


class Engine:
    """A journal and an account, both owned. One campaign is sent at a time; a second one waits for its turn."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._planning, self._turn = asyncio.Lock(), asyncio.Lock()
        self._planned_last: Planned | None = None
        self._campaigns: dict[str, Campaign] = {}
        machine.herald.followers.append(self._on_event)

    @property
    def settings(self) -> Settings:
        """What holds."""
        return self._machine.settings

    @property
    def account(self) -> str:
        """The account's name in the settings."""
        return self._machine.gate.account.name

    async def balance(self) -> Balance:
        """The points left. Raises GatewayError."""
        return await self._machine.gate.balance()

    async def plan(
        self,
        rows: Rows | Path,
        *,
        text: str | None = None,
        text_column: str | None = None,
        column: str | None = None,
        defaults: Mapping[str, str] | None = None,
        name: str | None = None,
        signature: str | None = None,
        opt_out: str | None = None,
        exclude: Sequence[Path] = (),
        only: Sequence[Path] = (),
        again: bool = False,
        allow_partial: bool = False,
        wait: bool = False,
        gateway_schedule: datetime | str | None = None,
    ) -> Campaign:
        """Make a campaign of rows (cells by column, or numbers alone), or of a list file. Nothing is sent yet.

        `text` is the template, or `text_column` names the column with every row's text; `column` the one with the numbers, by
        default found by name or content. The same rows with the same text are the same campaign, given again or not: it goes
        on where it stopped, unless `again`. `allow_partial`: more points may be needed than there are. `wait`: for points and
        gateway, see `Campaign.run`. `gateway_schedule`: the run hands everything over, and the gateway sends it then; the summary
        has it as `scheduled_for`. Words as on the command line, or a time; one without a zone is in that of `hours.timezone`.
        Raises PlanError, IntakeError, SendRefused, BalanceTooLow; then nothing of it stays.
        """
        if (text is None) == (text_column is None):
            raise PlanError(_("give the message once: as text, or as text_column where every row has its own"))
        order = SendOrder(
            files=(),
            text=text,
            text_column=text_column,
            defaults=defaults or {},
            column=column,
            campaign=name,
            signature=signature,
            opt_out=opt_out,
            again=again,
            allow_partial=allow_partial,
            waits=wait,
            wish=Wish(at=wall_time(), schedule=_written(gateway_schedule)),
        )
        if isinstance(rows, Path):
            return await self._planned(rows, order, exclude, only, keeps=self.settings.results.keep_lists == "all")
        keeps = self.settings.results.keep_lists != "none"  # there is no other copy
        async with spooled(rows) as path:
            try:
                return await self._planned(path, order, exclude, only, keeps=keeps)
            except IntakeError as error:
                source = N_("the rows") if error.source == path else error.source
                raise IntakeError(error.problem, source=source, line=error.line) from error
            except PlanError as error:
                raise PlanError(str(error).replace(str(path), _("the rows"))) from error

    async def _planned(
        self, path: Path, order: SendOrder, exclude: Sequence[Path], only: Sequence[Path], *, keeps: bool
    ) -> Campaign:
        machine, order = self._machine, replace(order, files=(path,))
        async with self._planning:
            return await self._planned_alone(machine, path, order, exclude, only, keeps=keeps)

    async def _planned_alone(
        self,
        machine: Machine,
        path: Path,
        order: SendOrder,
        exclude: Sequence[Path],
        only: Sequence[Path],
        *,
        keeps: bool,
    ) -> Campaign:
        reading = await asyncio.to_thread(Pipeline, path, column=order.column, exclude=exclude, only=only)
        try:
            record = await machine.known(order, reading)
            self._planned_last = None
            if record is None:
                plan = await planned(machine, order, reading, Live())
                record = await machine.publish(plan)
            if keeps:
                await asyncio.to_thread(reading.keep, kept_folder(self.settings.journal_path), files=True)
                if problem := await asyncio.to_thread(reading.kept):
                    logger.warning("no copy of the list is kept", extra={"problem": problem})
            return self._known(record, allow_partial=order.allow_partial, told=self._planned_last)
        finally:
            await asyncio.to_thread(reading.__exit__)

    async def campaign(self, name: str) -> Campaign:
        """A campaign of the journal. Raises PlanError when there is none of that name, JournalError."""
        record = await self._machine.journal.find_campaign(name=name)
        if record is None:
            raise PlanError(_("there is no campaign named {name!r} in this journal").format(name=name))
        return self._known(record)

    async def campaigns(self) -> list[CampaignSummary]:
        """All campaigns of the journal in figures, oldest first. Raises JournalError."""
        records = await self._machine.journal.campaigns()
        return [await _summary(self._machine, record.name) for record in records]

    async def close(self) -> None:
        """Stop what is being sent, gently, and wait for it. `open` does it at the end of its block.

        Cancelled, it stops all of them at once, and waits for their ends all the same. Raises what a run raised that nobody waited for.
        """
        campaigns, cancelled = list(self._campaigns.values()), None
        for campaign in campaigns:
            campaign.stop()
        for campaign in campaigns:
            try:
                await campaign.stopped()
            except asyncio.CancelledError as error:  # raised on, when nothing uses the journal any more
                cancelled = error
                for each in campaigns:
                    each.stop(now=True)
        if cancelled is not None:
            raise cancelled
        for campaign in campaigns:
            campaign.raise_unseen()

    def _known(self, record: CampaignRecord, *, allow_partial: bool = False, told: Planned | None = None) -> Campaign:
        campaign = self._campaigns.get(record.name)
        if campaign is None:
            campaign = self._campaigns[record.name] = Campaign(self._machine, record, turn=self._turn)
        campaign.allow_partial = allow_partial
        campaign.planned = told or campaign.planned
        return campaign

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Planned):
            self._planned_last = event
        elif event.campaign in self._campaigns:
            self._campaigns[event.campaign].note(event)


class Campaign:
    """One campaign of an open engine. `planned` says what planning came to, None where it was known already."""

    def __init__(self, machine: Machine, record: CampaignRecord, *, turn: asyncio.Lock) -> None:
        self.name = record.name
        self.planned: Planned | None = None
        self.allow_partial = False
        self._machine, self._turn = machine, turn
        self._running: asyncio.Task[CampaignSummary] | None = None
        self._stop = Stop(gently=asyncio.Event(), now=asyncio.Event())
        self._followers: list[_Follower] = []
        self._is_seen = True  # what the last run came to

    async def run(self, *, wait: bool = False, limit: int | None = None) -> CampaignSummary:
        """Send until nothing is left, something stops it, or `stop`. Returns how the campaign stands then; again is going on.

        `wait`: when points or the gateway are not there, wait until they are. `limit`: release only so many recipients, in
        whole batches. Cancelled, it stops gently first: answers under way come in. Raises JournalError, JournalBusy.
        """
        running = self._begin(wait=wait, limit=limit)
        try:
            return await self._end(running)
        except asyncio.CancelledError:
            self.stop()
            await self.stopped()
            raise

    async def events(self, *, wait: bool = False, limit: int | None = None) -> AsyncIterator[Event]:
        """What happens, from what was planned to the end of the run. Starts the run where none is under way.

        Who leaves the loop early does not end the run: `stop` does, and the end of the engine's block. A slow follower is told
        of several batches in one event. Raises what the run raises.
        """
        follower = _Follower()
        if self.planned is not None:
            follower.put(self.planned)
        self._followers.append(follower)
        try:
            running = self._begin(wait=wait, limit=limit)
            running.add_done_callback(lambda _: follower.close())
            async for event in follower:
                yield event
            await self._end(running)
        finally:
            self._followers.remove(follower)

    async def summary(self) -> CampaignSummary:
        """How it stands now, in figures. Raises JournalError."""
        return await _summary(self._machine, self.name, is_running=self._is_running)

    def stop(self, *, now: bool = False) -> None:
        """End the run: answers under way get `timeouts.grace_s`; with `now` they do not, and are in doubt."""
        self._stop.gently.set()
        if now:
            self._stop.now.set()

    async def stopped(self) -> None:
        """Return when no run is under way. Cancelled, it waits for nothing that is under way, and goes on when that has ended."""
        cancelled = False
        while self._is_running:
            assert self._running is not None
            try:
                await asyncio.wait((self._running,))
            except asyncio.CancelledError:
                cancelled = True
                self.stop(now=True)
        if cancelled:
            raise asyncio.CancelledError

    def raise_unseen(self) -> None:
        """Raise what the last run raised, where nobody has seen that yet."""
        if self._running is not None and self._running.done() and not self._is_seen:
            self._is_seen = True
            self._running.result()

    async def _end(self, running: asyncio.Task[CampaignSummary]) -> CampaignSummary:
        try:
            return await asyncio.shield(running)
        finally:
            self._is_seen = running.done()

    async def pause(self) -> str:
        """Send nothing more for now; the run waits. Returns what was done, in words. Raises JournalError."""
        return await self._ordered("pause")

    async def resume(self) -> str:
        """End a pause. Returns what was done, in words. Raises JournalError."""
        return await self._ordered("resume")

    async def cancel(self) -> str:
        """Never send what has not started. Returns what was done, in words. Raises JournalError."""
        return await self._ordered("cancel")

    def note(self, event: Event) -> None:
        """Something happened to it; who follows is told."""
        for follower in self._followers:
            follower.put(event)

    @property
    def _is_running(self) -> bool:
        return self._running is not None and not self._running.done()

    def _begin(self, *, wait: bool, limit: int | None) -> asyncio.Task[CampaignSummary]:
        if self._running is None or self._running.done():
            self._stop, self._is_seen = Stop(gently=asyncio.Event(), now=asyncio.Event()), False
            self._running = asyncio.create_task(self._run(wait=wait, limit=limit), name=f"campaign {self.name}")
        return self._running

    async def _run(self, *, wait: bool, limit: int | None) -> CampaignSummary:
        async with self._turn:
            record = await self._machine.journal.find_campaign(name=self.name)
            assert record is not None  # campaigns are never removed
            sending = Sending(engine=self._machine, live=Live(), stop=self._stop, allow_partial=self.allow_partial)
            return await sending.run(record, limit=limit, waits=wait)

    async def _ordered(self, verb: str) -> str:
        return (await self._machine.order(Order(verb=verb, campaign=self.name))).words


def _written(moment: datetime | str | None) -> str | None:
    """A time as the command line takes it."""
    if not isinstance(moment, datetime):
        return moment
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment.tzinfo is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


async def _summary(machine: Machine, name: str, *, is_running: bool = False) -> CampaignSummary:
    before = overdue_before(machine.settings)
    return await summary_of(machine.journal, name, is_running=is_running, overdue_before=before)


class _Follower:
    """Events that wait for one who follows. Batches are told together when too many wait."""

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque()
        self._news = asyncio.Event()
        self._closed = False

    def put(self, event: Event) -> None:
        if len(self._waiting) >= FOLLOWED_MOST and (both := _together(self._waiting[-1], event)) is not None:
            self._waiting[-1] = both
        else:
            self._waiting.append(event)
        self._news.set()

    def close(self) -> None:
        self._closed = True
        self._news.set()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._told()

    async def _told(self) -> AsyncIterator[Event]:
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._closed:
                return
            self._news.clear()
            await self._news.wait()


def _together(before: Event, after: Event) -> Event | None:
    """Two events of batches as one; None where they are not alike."""
    match before, after:
        case BatchAccepted(), BatchAccepted():
            points, recipients = before.points + after.points, before.recipients + after.recipients
            return replace(after, points=points, recipients=recipients, batches=before.batches + after.batches)
        case BatchRefused(), BatchRefused():
            recipients, batches = before.recipients + after.recipients, before.batches + after.batches
            return replace(after, recipients=recipients, batches=batches)
        case BatchInDoubt(), BatchInDoubt():
            recipients, batches = before.recipients + after.recipients, before.batches + after.batches
            return replace(after, recipients=recipients, batches=batches)
        case _:
            return None
