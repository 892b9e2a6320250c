"""What a command does beside the owner of a journal, or in its place when nobody owns it: looks, and orders."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from engine.clock import SteadyClock
from engine.errors import (
    BadRecipient,
    JournalBusy,
    JournalError,
    PlanError,
    SettingsError,
)
from engine.gateway.profile import load_profile
from engine.intake.numbers import normalise
from engine.journal.lock import is_held
from engine.journal.opening import open_journal, read_journal
from engine.journal.port import (
    EVERY_ACCOUNT,
    AttemptRow,
    AuditView,
    OptOut,
    OptOutSource,
    PollTally,
    Trace,
)
from engine.journal.store import Reader, SqlJournal
from engine.ledger.audit import Finding, Flag, Truth, audit, flags, open_doubts
from engine.ledger.evidence import Policy, Stretch
from engine.ledger.points import add_up
from engine.ledger.reckoning import Reckoning, reckon
from engine.ledger.settlement import settle
from engine.ledger.stretch import stretch_of
from engine.ledger.summary import CampaignSummary, summarise
from engine.model import OutcomeKind
from engine.runs.control import Order, Word, asked
from engine.runs.settling import assume
from engine.runs.steering import Steering
from engine.settings import Settings
from engine.tracking import Barred

ASSUME, TAKEN, NOT_TAKEN = "assume", "taken", "not-taken"
OPT_OUT, OPT_IN = "opt_out", "opt_in"  # orders: account, source, reason, numbers…; account, reason, numbers…
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
    short = await journal.shortfall(record.campaign_id, overdue_before=overdue_before) if counts.shortfall else []
    return summarise(record, counts, points, is_running=is_running, delivery=delivery, short=short)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What an audit came to: the campaign in figures, a finding for each law, and what a person should look at.

    `drawing` is the balance chain as lines of text, or why it is off; `doubts` are those nothing has settled yet.
    """

    summary: CampaignSummary
    findings: list[Finding]
    reckoning: Reckoning
    drawing: tuple[str, ...]
    doubts: list[AttemptRow]
    flags: list[Flag]
    polls: PollTally

    @property
    def all_hold(self) -> bool:
        """Whether every law holds."""
        return all(finding.holds for finding in self.findings)


async def audit_campaign(settings: Settings, account_name: str, name: str, *, truth: Truth | None = None) -> Audited:
    """Prove the laws for a campaign from the journal alone, or also against a simulator's truth.

    Raises JournalError, PlanError, SettingsError.
    """
    account = settings.for_account(account_name)
    profile = load_profile(account.profile)
    policy = Policy(
        min_age_s=settings.settlement.min_age_s,
        balance_settle_s=settings.settlement.balance_settle_s,
        exclusive=account.exclusive,
        prepaid=None,  # the journal does not tell
        remainpoint_meaningful=profile.remainpoint_meaningful,
        short_counts=profile.short_counts,
    )
    journal = await read_journal(settings.journal_path)
    try:
        running, before = is_held(settings.journal_path), overdue_before(settings)
        summary = await summary_of(journal, name, is_running=running, overdue_before=before)
        record = await journal.find_campaign(name=name)
        assert record is not None  # summary_of has found it
        view = await journal.audit_view(record.campaign_id, with_others=truth is not None)
        return await asyncio.to_thread(
            _audited,
            summary,
            view,
            await journal.polls(record.account),
            await _stretch(journal, record.account, view, price=profile.price_per_segment, policy=policy),
            price=profile.price_per_segment,
            policy=policy,
            truth=truth,
        )
    finally:
        await journal.close()


async def _stretch(journal: Reader, account: str, view: AuditView, *, price: Decimal, policy: Policy) -> Stretch | None:
    """What moved the account's balance since the campaign's first reading. None: it has no reading."""
    if not view.readings:
        return None
    if not policy.short_counts:
        policy = replace(policy, short_counts=await journal.saw_short_count(account))
    since = view.readings[0].asked_at - policy.lag
    rows = await journal.account_stretch(account, since=since, patience=policy.patience)
    # In a journal somebody has tampered with, an answer may lack its charge: the laws name it, the drawing goes without it.
    sound = [row for row in rows.attempts if row.outcome is not OutcomeKind.ACCEPTED or row.charge is not None]
    return stretch_of(replace(rows, attempts=sound), price=price, policy=policy, now=_now())


def _audited(
    summary: CampaignSummary,
    view: AuditView,
    polls: PollTally,
    stretch: Stretch | None,
    *,
    price: Decimal,
    policy: Policy,
    truth: Truth | None,
) -> Audited:
    reckoning = reckon(view.readings, view.spendings, price=price, policy=policy)
    return Audited(
        summary=summary,
        findings=audit(view, reckoning, exclusive=policy.exclusive, truth=truth),
        reckoning=reckoning,
        drawing=() if stretch is None else settle(stretch).drawing,
        doubts=open_doubts(view),
        flags=flags(view),
        polls=polls,
    )


async def why(settings: Settings, number: str) -> list[Trace]:
    """What the journal knows of one number, campaign by campaign; of a cell that is none, where it was left out.

    Raises BadRecipient when it is no number and no such cell was left out, JournalError.
    """
    journal = await read_journal(settings.journal_path)
    try:
        try:
            mobile = normalise(number)
        except BadRecipient:
            if left_out := await journal.traces("", [number]):
                return left_out
            raise
        return await journal.traces(mobile, _spellings(number, mobile))
    finally:
        await journal.close()


def _spellings(number: str, mobile: str) -> list[str]:
    """How the number may stand in a cell that was left out."""
    parts = (mobile[:3], mobile[3:7], mobile[7:])
    plain = [mobile, " ".join(parts), "-".join(parts)]
    return [number, *plain, *(f"+86{way}" for way in plain), *(f"+86 {way}" for way in plain), f"86{mobile}"]


async def order_owner(settings: Settings, verb: str, campaign: str, words: Sequence[str] = ()) -> Word:
    """Have an order carried out: by the process that owns the journal, or here when nobody does.

    Raises JournalBusy, JournalError, PlanError.
    """
    order = Order(verb=verb, campaign=campaign, words=tuple(words))
    if (word := await asked(settings.journal_path, order)) is not None:
        return word
    _refuse_no_journal(settings.journal_path)
    journal = await open_journal(settings.journal_path)
    try:
        return await Steering(journal).on_order(order)
    finally:
        await journal.close()


async def standing(settings: Settings, campaign: str) -> str:
    """What the process that sends the campaign says of its pace now, in words; "" where none answers."""
    try:
        word = await asked(settings.journal_path, Order(verb="pace", campaign=campaign))
    except JournalBusy:
        return ""
    return word.words if word is not None and word.done else ""


async def opt_out(
    settings: Settings,
    account_name: str,
    mobiles: Sequence[str],
    *,
    reason: str,
    source: OptOutSource,
    everywhere: bool = False,
) -> int:
    """Record opt-outs, also while a campaign is being sent: no submission that starts later holds them.

    `everywhere`: from every account. Returns how many were not recorded already. Raises JournalBusy, JournalError, SettingsError.
    """
    account = settings.for_account(account_name).account_key
    return await _ordered(settings, OPT_OUT, [EVERY_ACCOUNT if everywhere else account, source.value, reason], mobiles)


async def opt_in(
    settings: Settings, account_name: str, mobiles: Sequence[str], *, reason: str = "", everywhere: bool = False
) -> int:
    """Take opt-outs back, from the account or those from every account. Returns how many there were.

    Raises JournalBusy, JournalError, SettingsError.
    """
    account = settings.for_account(account_name).account_key
    return await _ordered(settings, OPT_IN, [EVERY_ACCOUNT if everywhere else account, reason], mobiles)


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
                word = await carry_out(mine, order, Barred(), at=_now())
            if not word.done:
                raise JournalError(word.words)
            count += int(word.words)
    return count


async def assumed(journal: SqlJournal, order: Order, *, at: datetime) -> Word:
    """Carry out a person's decision about a doubt: the words are account, batch, taken or not-taken, who, price, why."""
    account, seq, what, by, price, reason = order.words
    size = await assume(
        journal,
        account,
        campaign=order.campaign,
        seq=int(seq),
        taken=what == TAKEN,
        by=by,
        reason=reason,
        price=Decimal(price),
        at=at,
    )
    rest = "they count as accepted" if what == TAKEN else f"they will be sent to again by: xinshi run {order.campaign}"
    return Word(done=True, words=f"batch {seq} of {order.campaign} is assumed {what}: {size:,} recipients, {rest}")


async def order_assumption(
    settings: Settings, account_name: str, campaign: str, *, seq: int, what: str, by: str, reason: str
) -> Word:
    """Have a person's decision about a batch in doubt carried out, by the owner of the journal or here.

    `what` is "taken" or "not-taken". Raises JournalBusy, JournalError, PlanError, SettingsError.
    """
    account = settings.for_account(account_name)
    price = load_profile(account.profile).price_per_segment
    order = Order(verb=ASSUME, campaign=campaign, words=(account.account_key, str(seq), what, by, str(price), reason))
    if (word := await asked(settings.journal_path, order)) is not None:
        return word
    _refuse_no_journal(settings.journal_path)
    clock = SteadyClock()
    journal = await open_journal(settings.journal_path, clock=clock)
    try:
        return await assumed(journal, order, at=clock())
    finally:
        await journal.close()


async def carry_out(journal: SqlJournal, order: Order, barred: Barred, *, at: datetime) -> Word:
    if order.verb == OPT_IN:
        account, reason, *mobiles = order.words
        removed = await journal.remove_opt_outs(account, mobiles, at=at, reason=reason)
        still_out = await journal.opted_out_among(mobiles, account)  # from every account, where this was from one
        barred.remove([mobile for mobile in mobiles if mobile not in still_out])  # only now, when it is durable
        return Word(done=True, words=str(removed))
    account, source, reason, *mobiles = order.words
    barred.add(mobiles)
    new = [OptOut(mobile=mobile, at=at, reason=reason, source=OptOutSource(source)) for mobile in mobiles]
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
