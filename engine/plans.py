"""From an order to a plan: what is asked for, and what it would come to. Stored only when a journal is given."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.dispatch.pacing import numbers_that_fit
from engine.errors import (
    GatewayError,
    JournalError,
    PlanError,
    SchemaMismatch,
    SendRefused,
)
from engine.gate import Gate
from engine.gateway.profile import Profile
from engine.intake.files import ListFile
from engine.intake.given import STANDARD_INPUT
from engine.intake.screening import packed
from engine.journal.opening import read_journal
from engine.journal.port import (
    Draft,
    OptedOut,
    SourceRecord,
)
from engine.journal.store import Reader, SqlJournal
from engine.live import Live
from engine.model import Balance, Message
from engine.pipeline import Cut, Listing, Pipeline
from engine.planning.batching import distinct_allowed
from engine.planning.order import order_key, plan_hash
from engine.planning.preview import PlanTally, forecast_s
from engine.planning.text import compose
from engine.settings import AccountSettings, Settings

_LONGEST_NAME = 200  # bytes of a campaign's name; the rejects are a file of that name
_LONGEST_STEM = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOrder:
    """What the operator asks for: this text, these people. `limit`: recipients released now, the rest stays planned."""

    files: tuple[Path, ...]  # - is standard input
    text: str
    column: str | None = None
    encoding: str | None = None
    campaign: str | None = None
    signature: str | None = None
    opt_out: str | None = None
    allow_partial: bool = False
    again: bool = False
    limit: int | None = None
    signed_off: str | None = None  # the plan hash somebody agreed to; another one is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A complete plan, for the preview and the sign-off. `campaign_id` is None where nothing was stored."""

    campaign_id: int | None
    name: str
    order_key: str
    plan_hash: str
    message: Message
    listing: Listing
    tally: PlanTally
    distinct: bool
    balance: Balance | None
    balance_problem: str
    forecast_s: float
    profile: Profile
    account: AccountSettings
    rejects: Path | None


async def preview(settings: Settings, account_name: str, order: SendOrder, reading: Pipeline, live: Live) -> Plan:
    """Plan without storing or sending anything. A balance that cannot be read is said, not raised."""
    async with Gate.open(settings, account_name) as gate:
        balance, problem = None, ""
        try:
            balance = await gate.balance()
        except GatewayError as error:
            problem = str(error)
        return await Planner(gate, order, reading, live).plan(None, balance, problem)


class Planner:
    """Row -> Recipient -> Batch: the pipeline's process reads ahead while the part before is being stored."""

    def __init__(self, gate: Gate, order: SendOrder, reading: Pipeline, live: Live) -> None:
        self._gate, self._order, self._reading, self._live = gate, order, reading, live

    async def plan(self, journal: SqlJournal | None, balance: Balance | None, problem: str) -> Plan:
        order, gate = self._order, self._gate
        self._live.phase = "reading"
        message = message_of(order, gate)
        gate.http.prepare(message.content)  # an unencodable character is found now, not at the first batch
        listing = await asyncio.to_thread(self._reading.listing)
        key = key_of(gate.account.account_key, message, listing)
        name = order.campaign or await _free_name(journal, f"{_name_from(listing)}-{key[:6]}")
        refuse_name(name)
        opted_out = await self._opted_out(journal)
        cut = self._cut(message, balance, name, opted_out)
        draft = Draft(
            name=name,
            account=gate.account.account_key,
            profile=gate.profile.name,
            order_key=key,
            plan_hash=plan_hash(key, signed_off(gate, order, listing)),
            messages=[message],
            sources=[_source_record(list_file) for list_file in listing.list_files],
            created_at=_now(),
            screened=opted_out.seq,
        )
        campaign_id = None if journal is None else await journal.begin_campaign(draft)
        try:
            await self._stream(cut, journal, campaign_id)
            tally = self._reading.tally
            _refuse_nobody(listing, tally)
        except BaseException:  # the half plan is discarded, then it is raised on
            if journal is not None and campaign_id is not None:
                with suppress(JournalError):
                    await journal.discard_campaign(campaign_id)
            raise
        return Plan(
            campaign_id=campaign_id,
            name=name,
            order_key=key,
            plan_hash=draft.plan_hash,
            message=message,
            listing=listing,
            tally=tally,
            distinct=cut.distinct,
            balance=balance,
            balance_problem=problem,
            forecast_s=self._forecast_s(tally),
            profile=gate.profile,
            account=gate.account,
            rejects=cut.rejects if tally.excluded else None,
        )

    async def _opted_out(self, journal: SqlJournal | None) -> OptedOut:
        """Who is not to be sent to. A preview looks into the journal from beside; there may be none yet, or an older one."""
        account, path = self._gate.account.account_key, self._gate.settings.journal_path
        if journal is not None:
            return await journal.opted_out(account)
        if not path.is_file():
            return OptedOut(mobiles=[], seq=0)
        try:
            beside = await read_journal(path)
        except SchemaMismatch:
            return OptedOut(mobiles=[], seq=0)
        try:
            return await beside.opted_out(account)
        finally:
            await beside.close()

    def _cut(self, message: Message, balance: Balance | None, name: str, opted_out: OptedOut) -> Cut:
        gate = self._gate
        folder = gate.settings.journal_path.parent
        _make_folder(folder)
        return Cut(
            max_recipients=batch_size(gate),
            distinct=distinct_allowed(
                gate.settings.batch.distinct_sizes,
                prepaid=None if balance is None else balance.prepaid,
                exclusive=gate.account.exclusive,
                max_recipients=batch_size(gate),
            ),
            message=message,
            price=gate.profile.price_per_segment,
            rejects=folder / f"{name}_xinshi_rejects.csv",
            opted_out=packed(opted_out.mobiles),
        )

    async def _stream(self, cut: Cut, journal: SqlJournal | None, campaign_id: int | None) -> None:
        parts = self._reading.parts(cut)
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            self._live.rows = part.rows
            if journal is not None and campaign_id is not None:
                await journal.add_plan(campaign_id, part.batches, part.excluded)

    def _forecast_s(self, tally: PlanTally) -> float:
        pace = self._gate.account.pace
        return forecast_s(
            tally.batches,
            tally.recipients,
            requests_per_second=pace.requests_per_second,
            numbers_per_second=pace.numbers_per_second,
            window_s=self._gate.profile.window_s,
            in_flight=pace.in_flight,
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise JournalError(f"cannot create the folder {folder} ({error.strerror})") from error


def key_of(account_key: str, message: Message, listing: Listing) -> str:
    """The order key: account, text and whom the lists name. Another sheet, or another column, is another list of people."""
    lists = [f"{each.sha256} {each.column} {each.inside}" for each in listing.list_files]
    return order_key(account_key, message.content, lists)


def _refuse_nobody(listing: Listing, tally: PlanTally) -> None:
    if not tally.recipients:
        left_out = ", ".join(f"{count:,} {reason.value}" for reason, count in tally.excluded.most_common())
        raise PlanError(
            f"{_names(listing)}: none of its {tally.rows:,} rows holds a number that can be sent to ({left_out})"
        )


def _names(listing: Listing) -> str:
    first, *others = listing.list_files
    return first.label + (f" and {len(others)} more lists" if others else "")


def refuse_unsigned(order: SendOrder, hashed: str) -> None:
    if order.signed_off is not None and order.signed_off != hashed:
        raise SendRefused(
            f"nothing was sent: the plan is {hashed}, not {order.signed_off}; list, text, account, pace, batch size or limit "
            "differ from what was signed off. See `xinshi plan`"
        )


def refuse_name(name: str) -> None:
    if not name or "/" in name or not name.isprintable() or name[0] in ".-" or len(name.encode()) > _LONGEST_NAME:
        raise PlanError(
            f"{name!r} cannot name a campaign, because its rejects become a file of that name: no slash or control character, "
            f"no dot or dash at the beginning, at most {_LONGEST_NAME} letters or {_LONGEST_NAME // 3} Chinese characters"
        )


def _name_from(listing: Listing) -> str:
    """The first list's own name, as far as it can name a campaign."""
    return "".join(filter(str.isprintable, listing.list_files[0].path.stem)).lstrip(".-")[:_LONGEST_STEM] or "list"


def message_of(order: SendOrder, gate: Gate) -> Message:
    """The final text of an order. Raises PlanError."""
    profile, account = gate.profile, gate.account
    return compose(
        order.text,
        signature=order.signature or account.signature or None,
        signature_position=profile.signature_position.value,
        signature_required=profile.signature_required,
        opt_out=None if profile.opt_out_by_channel else order.opt_out or account.opt_out or None,
        max_units=profile.max_content_units,
        extra_units=profile.extra_units,
        charset=profile.request_charset.value,
    )


async def _free_name(journal: Reader | None, wanted: str) -> str:
    """The name for a campaign that was given none: `wanted`, or with a number behind it when the same order comes again."""
    name, again = wanted, 1
    while journal is not None and await journal.find_campaign(name=name) is not None:
        again += 1
        name = f"{wanted}-{again}"
    return name


def batch_size(gate: Gate) -> int:
    """Recipients a batch. Raises PlanError where gateway or pace cannot take so many."""
    wanted, most = gate.settings.batch.max_recipients, gate.profile.max_recipients
    if wanted > most:
        raise PlanError(
            f"batch.max_recipients is {wanted}, and the profile {gate.profile.name!r} takes at most {most} numbers a request; "
            "with your vendor's word, raise max_recipients in a profile of your own"
        )
    fits = numbers_that_fit(gate.account.pace.numbers_per_second, gate.profile.window_s)
    if fits is not None and wanted > fits:
        raise PlanError(
            f"a batch of {wanted} never fits the pace of {gate.account.pace.numbers_per_second:g} numbers a second; "
            f"set batch.max_recipients to {fits} at most"
        )
    return wanted


def signed_off(gate: Gate, order: SendOrder, listing: Listing) -> dict[str, str | int | float | None]:
    """What the plan hash covers beside the order key."""
    pace = gate.account.pace
    return {
        "profile": gate.profile.name,
        "requests_per_second": pace.requests_per_second,
        "numbers_per_second": pace.numbers_per_second,
        "in_flight": pace.in_flight,
        "max_recipients": gate.settings.batch.max_recipients,
        "limit": order.limit,
        "screening": " ".join(
            [
                *(f"-{each.list_file.sha256}" for each in listing.excluded),
                *(f"+{each.list_file.sha256}" for each in listing.only),
            ]
        ),
    }


def _source_record(source: ListFile) -> SourceRecord:
    return SourceRecord(
        path=str(source.path.resolve()) + (f" | {source.inside}" if source.inside else "")
        if source.path != STANDARD_INPUT
        else "standard input",
        sha256=source.sha256,
        size=source.size,
        encoding=source.encoding,
        number_column=source.column_label,
    )


def _now() -> datetime:
    return datetime.now(UTC)
