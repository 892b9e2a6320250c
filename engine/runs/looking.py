"""What can be seen in a journal from beside its owner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from engine.errors import BadRecipient, JournalBusy, PlanError
from engine.journal.conducting import Drop
from engine.journal.lock import is_held
from engine.journal.opening import read_journal
from engine.journal.places import refuse_folder
from engine.journal.port import CampaignLists, OptOut, OptOutHistory, Trace
from engine.journal.store import Reader
from engine.language import _, _n
from engine.ledger.points import add_up
from engine.ledger.price import KEPT, ratio_of
from engine.ledger.summary import CampaignSummary, summarise
from engine.numbers import normalise
from engine.runs.control import WHOSE, Order, asked
from engine.settings import Settings

_CAMPAIGNS_NAMED = 8  # where a number is in none of them


def overdue_before(settings: Settings) -> datetime:
    """For messages sent before then no report is waited for any more."""
    return datetime.now(UTC) - timedelta(hours=settings.tracking.report_horizon_h)


async def summary_of(
    journal: Reader, name: str, *, is_running: bool, overdue_before: datetime | None = None
) -> CampaignSummary:
    """A campaign in figures. A report is no longer waited for when its message was accepted before `overdue_before`.

    Raises PlanError when there is none of that name.
    """
    record = await journal.find_campaign(name=name)
    if record is None:
        names = ", ".join(known.name for known in await journal.campaigns()) or _("none yet")
        raise PlanError(
            _("there is no campaign named {name!r} in this journal; there are: {names}").format(name=name, names=names)
        )
    readings = await journal.readings(record.account, campaign_id=record.campaign_id)
    points = add_up(readings, charged_since=await journal.charged_since_reading(record.account))
    counts = await journal.counts(record.campaign_id)
    delivery = await journal.delivery(record.campaign_id, overdue_before=overdue_before)
    short = await journal.shortfall(record.campaign_id, overdue_before=overdue_before) if counts.shortfall else []
    ratio = (
        ratio_of((each.charge, each.remaining) for each in await journal.last_drops(record.account, limit=KEPT))
        if points.unexplained
        else None
    )
    return summarise(record, counts, points, is_running=is_running, delivery=delivery, short=short, price_ratio=ratio)


class Drops(Protocol):
    """A journal that tells what answers said of the balance."""

    async def last_drops(self, account: str, *, limit: int, scheduled: bool = False) -> list[Drop]:
        """What the last accepted answers said; `scheduled`: those to what is sent later."""
        ...


async def charges_when_taken(journal: Drops, account: str) -> bool:
    """Whether answers showed that the gateway charges what it sends later as soon as it takes it."""
    drops = await journal.last_drops(account, limit=KEPT, scheduled=True)
    return ratio_of((each.charge, each.remaining) for each in drops) is not None


async def status(settings: Settings, name: str | None) -> list[CampaignSummary]:
    """One campaign, or all of them, looked at from beside. Raises JournalError, PlanError, SettingsError."""
    refuse_folder(settings.journal_path)
    if not settings.journal_path.exists():
        if name is None:
            return []
        raise PlanError(
            _("there is no campaign named {name!r}: no journal at {path} yet (see --journal)").format(
                name=name, path=settings.journal_path
            )
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OfNumber:
    """What a journal knows of one number. `mobile` None: what was asked for is none, because of the `problem`.

    `traces` and `opt_outs` are in order of time. `lists`: what was looked at.
    """

    number: str
    mobile: str | None
    problem: str
    traces: list[Trace]
    opt_outs: list[OptOutHistory]
    lists: list[CampaignLists]


async def why(settings: Settings, number: str) -> OfNumber:
    """What the journal knows of one number, campaign by campaign; of a cell that is none, where it was left out.

    Raises BadRecipient when it is no number and no such cell was left out, JournalError.
    """
    journal = await read_journal(settings.journal_path)
    try:
        mobile, problem = _read(number)
        traces = await journal.traces(mobile or "", [number] if mobile is None else _spellings(number, mobile))
        lists = await journal.campaign_lists()
        if mobile is None and not traces:
            raise BadRecipient(
                _(
                    "{number!r} is no mobile number: {problem}. Nor is it a cell that was left out of a list here; "
                    "looked at: {lists}"
                ).format(number=number, problem=problem, lists=listed(lists))
            )
        return OfNumber(
            number=number,
            mobile=mobile,
            problem=problem,
            traces=traces,
            opt_outs=[] if mobile is None else await journal.opt_out_history(mobile),
            lists=lists,
        )
    finally:
        await journal.close()


def listed(lists: Sequence[CampaignLists]) -> str:
    """Campaigns with their lists, the latest ones by name."""
    if not lists:
        return _("no campaign: this journal has none yet")
    shown = [
        f"{each.campaign} ({', '.join(Path(path).name for path in each.lists)})" if each.lists else each.campaign
        for each in reversed(lists[-_CAMPAIGNS_NAMED:])
    ]
    if more := len(lists) - len(shown):
        shown.append(_n("and {more:,} earlier campaign", "and {more:,} earlier campaigns", more).format(more=more))
    return _("; ").join(shown)


def _read(number: str) -> tuple[str | None, str]:
    """The mobile, or why it is none."""
    try:
        return normalise(number), ""
    except BadRecipient as error:
        return None, str(error)


def _spellings(number: str, mobile: str) -> list[str]:
    """How the number may stand in a cell that was left out."""
    parts = (mobile[:3], mobile[3:7], mobile[7:])
    plain = [mobile, " ".join(parts), "-".join(parts)]
    return [number, *plain, *(f"+86{way}" for way in plain), *(f"+86 {way}" for way in plain), f"86{mobile}"]


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


async def standing(settings: Settings, campaign: str) -> str:
    """What the process that sends the campaign says of its pace now, in words; "" where none answers."""
    try:
        word = await asked(settings.journal_path, Order(verb="pace", campaign=campaign))
    except JournalBusy:
        return ""
    return word.words if word is not None and word.done else ""


async def is_waited_with(settings: Settings, campaign: str) -> bool:
    """Whether a process has the campaign."""
    try:
        word = await asked(settings.journal_path, Order(verb=WHOSE, campaign=campaign))
    except (JournalBusy, PlanError):
        return False
    return word is not None and word.done
