"""The laws of a campaign, proved from its journal."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from engine.gateway.profile import load_profile
from engine.journal.lock import is_held
from engine.journal.opening import read_journal
from engine.journal.port import AttemptRow, AuditView, PollTally
from engine.journal.store import Reader
from engine.ledger.audit import Finding, Flag, Truth, audit, flags, open_doubts
from engine.ledger.evidence import Policy, Stretch
from engine.ledger.reckoning import Reckoning, reckon
from engine.ledger.settlement import settle
from engine.ledger.stretch import stretch_of
from engine.ledger.summary import CampaignSummary
from engine.model import OutcomeKind
from engine.runs.looking import charges_when_taken, overdue_before, summary_of
from engine.settings import Settings


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
    policy = replace(policy, charges_when_taken=await charges_when_taken(journal, account))
    since = view.readings[0].asked_at - policy.lag
    rows = await journal.account_stretch(account, since=since, patience=policy.patience)
    # In a journal somebody has tampered with, an answer may lack its charge: the laws name it, the drawing goes without it.
    sound = [row for row in rows.attempts if row.outcome is not OutcomeKind.ACCEPTED or row.charge is not None]
    return stretch_of(replace(rows, attempts=sound), price=price, policy=policy, now=datetime.now(UTC))


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
