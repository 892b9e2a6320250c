"""Waits for what time mends, and goes on by itself: points, a gateway that is away or asks for less, a journal in use.

opened ── busy ──► rest, again        planned ── unreachable ──► rest, again
sent ── paused for a reason that time mends ──► rest, look gently ── mended ──► sent …
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import IO

from engine.dispatch.waiting import unless_set
from engine.errors import BadAnswer, GatewayError, JournalBusy, NoAnswer, NotSent, Refused, SendRefused
from engine.journal.port import CampaignRecord
from engine.language import _
from engine.ledger.points import ZERO
from engine.ledger.summary import CampaignSummary
from engine.live import Live, Stop
from engine.model import CampaignState, PauseReason
from engine.orders.pipeline import Pipeline
from engine.orders.plans import Plan, SendOrder
from engine.reasons import BECAUSE
from engine.runtime import Engine
from engine.settings import Settings, WaitSettings
from engine.telemetry import logger

MENDS = frozenset({PauseReason.BALANCE, PauseReason.FLOOR, PauseReason.UNREACHABLE, PauseReason.THROTTLED})
"""What time mends. Not doubts in a row: each try would make more of them."""

_LOOK_S = 1.0  # how soon an order (cancel, pause) that came meanwhile is seen
_GROWTH = 1.5


class Rests:
    """Waits that grow from `poll_s` to `poll_max_s` seconds, until something moved."""

    def __init__(self, settings: WaitSettings) -> None:
        self._settings = settings
        self.next_s = settings.poll_s

    def grow(self) -> float:
        """The wait to come, in seconds; the one after it is longer."""
        now_s, self.next_s = self.next_s, min(self.next_s * _GROWTH, self._settings.poll_max_s)
        return now_s

    def moved(self) -> None:
        """Begin with short waits again."""
        self.next_s = self._settings.poll_s


@asynccontextmanager
async def opened(
    settings: Settings, account_name: str, *, waits: bool, announce: Callable[[str], None], apart: bool = False
) -> AsyncIterator[Engine]:
    """`Engine.open`; where `waits`, also while another process has the journal or the account. Raises as that does."""
    rests, told = Rests(settings.wait), False
    async with AsyncExitStack() as stack:
        while True:
            try:
                engine = await stack.enter_async_context(Engine.open(settings, account_name, apart=apart))
                break
            except JournalBusy as busy:
                if not waits:
                    raise
                if not told:
                    announce(_("Waiting: {busy}").format(busy=busy))
                    logger.info("waiting for the journal", extra={"owner": busy.owner_pid})
                told = True
            await asyncio.sleep(rests.grow())
        yield engine


async def planned(engine: Engine, order: SendOrder, reading: Pipeline, live: Live) -> Plan:
    """`Engine.plan`; where the order waits, also while the gateway cannot be reached. Raises as that does."""
    rests, told = Rests(engine.settings.wait), False
    while True:
        try:
            return await engine.plan(order, reading, live)
        except SendRefused as refused:
            if not order.waits or not _may_pass(refused.__cause__):
                raise
            if not told:
                live.notice(
                    _("Waiting: {problem}. It is tried again; Ctrl-C ends that.").format(problem=refused.__cause__)
                )
                logger.info("waiting for the gateway before planning")
            told = True
        live.phase = _("waiting for the gateway")
        await asyncio.sleep(rests.grow())


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """A campaign that is sent until something happens that time does not mend."""

    engine: Engine
    live: Live
    stop: Stop
    allow_partial: bool = False
    reserved: Decimal = ZERO  # points that are for other campaigns
    whom: Callable[[], IO[bytes] | None] | None = None  # for whom all of it was planned, where that is known still

    async def run(self, record: CampaignRecord, *, limit: int | None = None, waits: bool = True) -> CampaignSummary:
        """`Engine.run`, again and again while `waits`. Raises JournalError."""
        rests = Rests(self.engine.settings.wait)
        planned_before = await self._planned(record) if waits else 0
        while True:
            summary = await self.engine.run(
                record,
                live=self.live,
                stop=self.stop,
                allow_partial=self.allow_partial,
                limit=limit,
                reserved=self.reserved,
                mends=MENDS if waits else (),
                whom=self.whom,
            )
            if not waits or not _is_mended_by_time(summary) or self.stop.gently.is_set():
                return summary
            planned_now = await self._planned(record)
            if (gone := planned_before - planned_now) > 0:
                rests.moved()
                limit = None if limit is None else limit - gone
                if limit is not None and limit <= 0:
                    return summary
            planned_before = planned_now
            again = await self._until_mended(record, summary, rests)
            if again is None:
                return summary
            record = again

    async def _planned(self, record: CampaignRecord) -> int:
        """Recipients that wait to be sent to."""
        kinds = await self.engine.journal.planned_kinds(record.campaign_id)
        return sum(kind.size * kind.batches for kind in kinds)

    async def _until_mended(
        self, record: CampaignRecord, summary: CampaignSummary, rests: Rests
    ) -> CampaignRecord | None:
        """The campaign as it is when it may go on, or was cancelled; None when the wait was stopped."""
        because = "; ".join(_(BECAUSE[reason]) for reason in summary.reasons)
        self.live.notice(
            _(
                "{name} is paused: {because}. Looking again every {seconds:g} s and more, and going on by itself. Ctrl-C "
                "ends the wait; `run` goes on later."
            ).format(name=record.name, because=because, seconds=rests.next_s)
        )
        lowest = self.live.collector.progress().reported_remaining  # points may have come while the run was ending
        known = [points for points in (summary.remaining, lowest) if points is not None]
        top_up = _TopUp(min(known, default=None))
        async with self.engine.tracking_beside(self.live, self.stop):
            while True:
                self.live.phase = _("waiting: {because}").format(because=because)
                now = await self._rest(record, rests.grow())
                if now is None or now.stored_state in (CampaignState.CANCELLED, CampaignState.PLANNED):
                    return now  # stopped, or somebody's order came meanwhile
                if PauseReason.OPERATOR in now.reasons:
                    continue  # somebody wants it to stand; `resume` ends that
                if await self._is_mended(summary.reasons, top_up):
                    self.engine.herald.resumed(record.name, summary.reasons)
                    return now

    async def _rest(self, record: CampaignRecord, seconds: float) -> CampaignRecord | None:
        """Wait; return sooner when somebody ordered something. None: the wait was stopped."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + seconds
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(_LOOK_S, until_s - loop.time()))):
                    await self.stop.gently.wait()
            if self.stop.gently.is_set():
                return None
            now = await self.engine.journal.find_campaign(name=record.name)
            assert now is not None  # campaigns are never removed
            ordered = now.stored_state in (CampaignState.CANCELLED, CampaignState.PLANNED)
            if ordered or loop.time() >= until_s:
                return now

    async def _is_mended(self, reasons: tuple[PauseReason, ...], top_up: _TopUp) -> bool:
        """Whether another try is worth it. What the gateway refuses now, the next run says in full."""
        try:
            balance = await unless_set(self.stop.gently, self.engine.gate.balance())
        except Refused:
            return True
        except GatewayError as error:
            logger.info("still waiting for the gateway", extra={"problem": str(error)})
            return not _may_pass(error)
        if balance is None:  # stopped
            return False
        return {PauseReason.BALANCE, PauseReason.FLOOR}.isdisjoint(reasons) or top_up.is_seen(balance.remaining)


class _TopUp:
    """Sees that points came. Where the gateway tells none, only another try can tell."""

    def __init__(self, known: Decimal | None) -> None:
        self._known = known

    def is_seen(self, remaining: Decimal | None) -> bool:
        known, self._known = self._known, remaining
        return remaining is None or known is None or remaining > known


def _is_mended_by_time(summary: CampaignSummary) -> bool:
    return summary.state is CampaignState.PAUSED and bool(summary.reasons) and set(summary.reasons) <= MENDS


def _may_pass(error: BaseException | None) -> bool:
    return isinstance(error, NotSent | NoAnswer | BadAnswer) and error.http_status != 407
