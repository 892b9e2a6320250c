"""What a command does beside the owner of a journal, or in its place when nobody owns it: looks, and orders."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from engine.control import Order, Word, asked
from engine.errors import (
    JournalError,
    PlanError,
    SettingsError,
)
from engine.gateway.profile import load_profile
from engine.intake.numbers import normalise
from engine.journal.lock import is_held
from engine.journal.opening import open_journal, read_journal
from engine.journal.port import (
    OptOut,
    OptOutSource,
    Trace,
)
from engine.journal.store import Reader, SqlJournal
from engine.ledger.audit import Finding, audit, chain_lines
from engine.ledger.points import add_up
from engine.ledger.summary import CampaignSummary, summarise
from engine.settings import Settings
from engine.steering import Steering
from engine.tracking import Barred

OPT_OUT, OPT_IN = "opt_out", "opt_in"  # orders: account, source, reason, numbers…; account, numbers…
_IN_ONE_ORDER = 1_000  # numbers


def overdue_before(settings: Settings) -> datetime:
    return _now() - timedelta(hours=settings.tracking.report_horizon_h)


async def summary_of(
    journal: Reader, name: str, *, is_running: bool, overdue_before: datetime | None = None
) -> CampaignSummary:
    """A campaign in figures. A report is no longer waited for when its message was accepted before `overdue_before`.

    Raises PlanError when there is none of that name.
    """
    record = await journal.find_campaign(name=name)
    if record is None:
        names = ", ".join(known.name for known in await journal.campaigns()) or "none yet"
        raise PlanError(f"there is no campaign named {name!r} in this journal; there are: {names}")
    readings = await journal.readings(record.account, campaign_id=record.campaign_id)
    points = add_up(readings, charged_since=await journal.charged_since_reading(record.account))
    counts = await journal.counts(record.campaign_id)
    delivery = await journal.delivery(record.campaign_id, overdue_before=overdue_before)
    return summarise(record, counts, points, is_running=is_running, delivery=delivery)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What an audit came to: the campaign in figures, a finding for each law, and the balance drawn as lines of text."""

    summary: CampaignSummary
    findings: list[Finding]
    chain: list[str]

    @property
    def all_hold(self) -> bool:
        """Whether every law holds."""
        return all(finding.holds for finding in self.findings)


async def audit_campaign(
    settings: Settings,
    account_name: str,
    name: str,
    *,
    truth: Mapping[str, int] | None = None,
    truth_charges: Decimal | None = None,
) -> Audited:
    """Prove the laws for a campaign from the journal alone, or also against a simulator's truth.

    Raises JournalError, PlanError, SettingsError.
    """
    price = load_profile(settings.for_account(account_name).profile).price_per_segment
    journal = await read_journal(settings.journal_path)
    try:
        summary = await summary_of(journal, name, is_running=is_held(settings.journal_path))
        record = await journal.find_campaign(name=name)
        assert record is not None  # summary_of has found it
        readings = await journal.readings(record.account, campaign_id=record.campaign_id)
        view = await journal.audit_view(record.campaign_id)
        findings = await asyncio.to_thread(
            audit, view, add_up(readings), price=price, truth=truth, truth_charges=truth_charges
        )
        return Audited(summary=summary, findings=findings, chain=chain_lines(readings))
    finally:
        await journal.close()


async def why(settings: Settings, number: str) -> list[Trace]:
    """What the journal knows of one number, campaign by campaign. Raises BadRecipient, JournalError."""
    mobile = normalise(number)
    journal = await read_journal(settings.journal_path)
    try:
        return await journal.traces(mobile, _spellings(number, mobile))
    finally:
        await journal.close()


def _spellings(number: str, mobile: str) -> list[str]:
    """How the number may stand in a cell that was left out."""
    parts = (mobile[:3], mobile[3:7], mobile[7:])
    plain = [mobile, " ".join(parts), "-".join(parts)]
    return [number, *plain, *(f"+86{way}" for way in plain), *(f"+86 {way}" for way in plain), f"86{mobile}"]


async def order_owner(settings: Settings, verb: str, campaign: str) -> Word:
    """Have an order carried out: by the process that owns the journal, or here when nobody does.

    Raises JournalBusy, JournalError, PlanError.
    """
    order = Order(verb=verb, campaign=campaign)
    if (word := await asked(settings.journal_path, order)) is not None:
        return word
    _refuse_no_journal(settings.journal_path)
    journal = await open_journal(settings.journal_path)
    try:
        return await Steering(journal).on_order(order)
    finally:
        await journal.close()


async def opt_out(
    settings: Settings, account_name: str, mobiles: Sequence[str], *, reason: str, source: OptOutSource
) -> int:
    """Record opt-outs, also while a campaign is being sent: no submission that starts later holds them.

    Returns how many were not recorded already. Raises JournalBusy, JournalError, SettingsError.
    """
    account = settings.for_account(account_name).account_key
    return await _ordered(settings, OPT_OUT, [account, source.value, reason], mobiles)


async def opt_in(settings: Settings, account_name: str, mobiles: Sequence[str]) -> int:
    """Take opt-outs back. Returns how many there were. Raises JournalBusy, JournalError, SettingsError."""
    return await _ordered(settings, OPT_IN, [settings.for_account(account_name).account_key], mobiles)


async def opted_out(settings: Settings, account_name: str) -> list[OptOut]:
    """Everybody who has opted out. Raises JournalError, SettingsError."""
    refuse_folder(settings.journal_path)
    if not settings.journal_path.is_file():
        return []
    journal = await read_journal(settings.journal_path)
    try:
        return await journal.opt_outs(settings.for_account(account_name).account_key)
    finally:
        await journal.close()


async def _ordered(settings: Settings, verb: str, words: list[str], mobiles: Sequence[str]) -> int:
    """Have the owner of the journal do it, a few numbers at a time; or do it here when nobody owns it."""
    path, count = settings.journal_path, 0
    refuse_folder(path)
    stretches = [mobiles[begin : begin + _IN_ONE_ORDER] for begin in range(0, len(mobiles), _IN_ONE_ORDER)]
    async with AsyncExitStack() as stack:
        mine: SqlJournal | None = None
        for stretch in stretches:
            order = Order(verb=verb, campaign="", words=(*words, *stretch))
            word = None if mine is not None else await asked(path, order)
            if word is None:
                if mine is None:
                    mine = await open_journal(path)
                    stack.push_async_callback(mine.close)
                word = await carry_out(mine, order, Barred())
            if not word.done:
                raise JournalError(word.words)
            count += int(word.words)
    return count


async def carry_out(journal: SqlJournal, order: Order, barred: Barred) -> Word:
    if order.verb == OPT_IN:
        account, *mobiles = order.words
        return Word(done=True, words=str(await journal.remove_opt_outs(account, mobiles, at=_now())))
    account, source, reason, *mobiles = order.words
    barred.add(mobiles)
    new = [OptOut(mobile=mobile, at=_now(), reason=reason, source=OptOutSource(source)) for mobile in mobiles]
    return Word(done=True, words=str(await journal.add_opt_outs(account, new)))


def _refuse_no_journal(path: Path) -> None:
    if not path.is_file():
        raise JournalError(f"there is no journal at {path}; nothing was sent with it yet (see --journal)")


async def status(settings: Settings, name: str | None) -> list[CampaignSummary]:
    """One campaign, or all of them, looked at from beside. Raises JournalError, PlanError, SettingsError."""
    refuse_folder(settings.journal_path)
    if not settings.journal_path.exists():
        if name is None:
            return []
        raise PlanError(
            f"there is no campaign named {name!r}: no journal at {settings.journal_path} yet (see --journal)"
        )
    journal = await read_journal(settings.journal_path)
    try:
        running = is_held(settings.journal_path)
        names = [name] if name is not None else [record.name for record in await journal.campaigns()]
        return [
            await summary_of(journal, each, is_running=running, overdue_before=overdue_before(settings))
            for each in names
        ]
    finally:
        await journal.close()


def refuse_folder(journal: Path) -> None:
    if journal.is_dir():
        raise SettingsError(f"the journal {journal} is a folder; name a file in it: {journal / 'xinshi.db'}")


def _now() -> datetime:
    return datetime.now(UTC)
