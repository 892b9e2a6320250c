"""From an order to a plan: what is asked for, and what it would come to. Stored only when a journal is given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from engine.clock import wall_time
from engine.dispatch.finish import finish
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
from engine.intake.columns import folded, placed
from engine.intake.files import ListFile
from engine.intake.given import STANDARD_INPUT
from engine.intake.screening import packed
from engine.intake.seen import Seen
from engine.journal.opening import read_journal
from engine.journal.places import make_folder
from engine.journal.port import (
    CampaignRecord,
    Conduct,
    Draft,
    OptedOut,
    SourceRecord,
)
from engine.journal.store import Reader, SqlJournal
from engine.language import N_, _
from engine.ledger.points import ZERO
from engine.ledger.price import KEPT, ratio_of
from engine.live import Live
from engine.model import Balance, CampaignState, Message
from engine.moments import local
from engine.orders.conduct import Wish, decided, keep_points, refuse_unreachable, signed
from engine.orders.keywords import Asker, Checked, Explained, check_fixed, check_rows, explain
from engine.orders.pipeline import Cut, Listing, Part, Pipeline
from engine.orders.radar import Cap, Overlap, Sighting, cap_of, overlap_of, sighted
from engine.orders.signing import Parts, parts_of
from engine.planning.batching import distinct_allowed
from engine.planning.kinds import refuse_no_way_out
from engine.planning.order import order_key, plan_hash
from engine.planning.preview import PlanTally, forecast_s
from engine.planning.template import parsed
from engine.planning.text import Frame
from engine.planning.wording import FilledText, OwnText, SameText, Wording, again, worded
from engine.settings import AccountSettings, Settings

_LONGEST_NAME = 200  # bytes of a campaign's name; the rejects are a file of that name
_LONGEST_STEM = 40
_MOST_EXPLAINED = 200  # refused texts
_UNSEEN = "\n+"  # behind the name while an addition is being planned; no campaign can be called that


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOrder:
    """What the operator asks for: this text, these people. `limit`: recipients released now, the rest stays planned.

    One of `text` (its placeholders name columns), `text_column` (the whole text stands there), and `add_to` (a campaign, whose
    text it is). `defaults`: what stands in for a blank cell, by column.
    """

    files: tuple[Path, ...]  # - is standard input
    text: str | None = None
    text_column: str | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)
    add_to: str | None = None
    column: str | None = None
    encoding: str | None = None
    campaign: str | None = None
    signature: str | None = None
    opt_out: str | None = None
    allow_partial: bool = False
    again: bool = False
    limit: int | None = None
    waits: bool = False  # for points and for the gateway, instead of giving up
    wish: Wish = field(default_factory=lambda: Wish(at=wall_time()))
    ignore_reserve: bool = False
    signed_off: str | None = None  # the plan hash somebody agreed to; another one is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A complete plan, for the preview and the sign-off. `campaign_id` is None where nothing was stored."""

    campaign_id: int | None
    name: str
    order_key: str
    plan_hash: str
    wording: Wording
    listing: Listing
    tally: PlanTally
    distinct: bool
    balance: Balance | None
    balance_problem: str
    forecast_s: float
    profile: Profile
    account: AccountSettings
    rejects: Path | None
    added_to: CampaignRecord | None = None
    left_aside: frozenset[int] = frozenset()  # lists that are in that campaign already, by their place
    kind: str = ""  # marketing, notice, or nobody said
    parts: Parts = field(default_factory=dict)  # what the plan hash is made of
    sends_part: bool = False  # where the points do not reach, what they reach for (--allow-partial)
    overlap: Overlap | None = None  # with what was sent lately
    checked: Checked | None = None  # what the gateway says of the texts; None: it was not asked
    conduct: Conduct
    keep_points: Decimal = ZERO
    reserved: tuple[tuple[str, Decimal], ...] = ()  # what other campaigns still need
    ratio: Decimal | None = None  # points charged for one expected, as answers told lately

    @property
    def points(self) -> Decimal:
        """What it should cost, at what the gateway charged lately."""
        return self.tally.points * (self.ratio or 1)

    @property
    def reserved_points(self) -> Decimal:
        """What other campaigns still need, in all."""
        return sum((points for _, points in self.reserved), ZERO)


async def preview(settings: Settings, account_name: str, order: SendOrder, reading: Pipeline, live: Live) -> Plan:
    """Plan without storing or sending anything. A balance that cannot be read is said, not raised."""
    refuse_unreachable(decided(order.wish, settings), wall_time())
    async with Gate.open(settings, account_name) as gate:
        if order.add_to is None:  # a name that is no column is found before anything is asked of the gateway
            columns_of(wording_of(order, gate), await asyncio.to_thread(reading.listing))
        balance, problem = None, ""
        try:
            balance = await gate.balance()
        except GatewayError as error:
            problem = str(error)
        return await Planner(gate, order, reading, live).plan(None, balance, problem)


@dataclass(slots=True)
class _Unseen:
    """The campaign that a plan is stored as before anybody sees it; without a journal nothing is stored."""

    journal: SqlJournal | None
    draft: Draft
    campaign_id: int | None = None

    async def begin(self) -> None:
        if self.journal is not None:
            await finish(self._begin(self.journal))  # cancelled, it is there all the same, and is discarded

    async def _begin(self, journal: SqlJournal) -> None:
        self.campaign_id = await journal.begin_campaign(self.draft)

    async def add(self, part: Part) -> None:
        if self.journal is not None and self.campaign_id is not None:
            await self.journal.add_plan(self.campaign_id, part.batches, part.excluded, part.messages)

    async def begin_anew(self) -> None:
        """What was added is void."""
        await self.discard()
        await self.begin()

    async def discard(self) -> None:
        gone, self.campaign_id = self.campaign_id, None
        if self.journal is not None and gone is not None:
            await self.journal.discard_campaign(gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of an order before its rows are cut: the lists, and what the journal tells of account and people.

    `whole`: the campaign that is added to; `held`: the numbers that must not come into it again.
    """

    whole: Addition | None
    wording: Wording
    listing: Listing
    columns: tuple[tuple[int, ...], ...]
    key: str
    name: str  # as it is stored
    opted_out: OptedOut
    sighting: Sighting
    held: bytes
    ratio: Decimal | None
    reserved: tuple[tuple[str, Decimal], ...]


class Planner:
    """Row -> Recipient -> Batch: the pipeline's process reads ahead while the part before is being stored."""

    def __init__(self, gate: Gate, order: SendOrder, reading: Pipeline, live: Live) -> None:
        self._gate, self._order, self._reading, self._live = gate, order, reading, live

    async def plan(self, journal: SqlJournal | None, balance: Balance | None, problem: str) -> Plan:
        """Store what the order comes to, unseen; without a journal of one's own: only count it. Raises PlanError, IntakeError."""
        gate = self._gate
        self._live.phase = N_("reading the list")
        async with self._looking(journal) as books:
            known = await self._known(books, journal)
        whole, wording = known.whole, known.wording
        conduct = decided(self._order.wish, gate.settings, None if whole is None else whole.record.conduct)
        cut = self._cut(known, balance, keeps_batches=journal is not None)
        asker = None if gate.settings.message.check_keywords is False else Asker(gate)
        checked = None if asker is None else await self._checked_fixed(asker, wording)
        surveyor = asker if checked is None else None
        draft = self._draft(known, cut, conduct)
        unseen = _Unseen(journal, draft)
        try:
            checked = await self._fill(unseen, replace(cut, surveys=surveyor is not None), surveyor) or checked
            tally = self._reading.tally
            if whole is None:
                _refuse_nobody(known.listing, tally)
        except BaseException:  # the half plan is discarded, then it is raised on
            with suppress(JournalError):
                await unseen.discard()
            raise
        return Plan(
            campaign_id=unseen.campaign_id,
            name=known.name if whole is None else whole.record.name,
            order_key=known.key,
            plan_hash=draft.plan_hash,
            wording=wording,
            listing=known.listing,
            tally=tally,
            distinct=cut.distinct,
            balance=balance,
            balance_problem=problem,
            forecast_s=self._forecast_s(tally),
            profile=gate.profile,
            account=gate.account,
            rejects=cut.rejects if tally.excluded else None,
            added_to=None if whole is None else whole.record,
            left_aside=cut.left_aside,
            conduct=conduct,
            keep_points=keep_points(conduct, gate.settings),
            reserved=known.reserved,
            ratio=known.ratio,
            kind=gate.settings.message.kind,
            sends_part=self._order.allow_partial,
            parts=parts_of(gate.account.account_key, wording, known.listing, self._signed_off(known)),
            checked=checked,
            overlap=overlap_of(
                known.sighting, tally.reached, days=gate.settings.radar.days, recipients=tally.recipients
            ),
        )

    async def _known(self, books: Reader | None, journal: SqlJournal | None) -> _Known:
        """Look at the lists and into the journal. Raises PlanError, IntakeError."""
        order, gate = self._order, self._gate
        account = gate.account.account_key
        whole = None if order.add_to is None else await addition(books, order.add_to, gate)
        wording = wording_of(order, gate) if whole is None else whole.wording
        listing = await asyncio.to_thread(self._reading.listing)
        columns = columns_of(wording, listing)
        key = key_of(account, wording, listing, into=whole)
        name = f"{whole.record.name}{_UNSEEN}" if whole else order.campaign or ""
        name = name or await _free_name(journal, f"{_name_from(listing)}-{key[:6]}")
        if whole is None:
            refuse_name(name)
        ratio = None if books is None else await price_ratio(books, account)
        mine = "" if whole is None else whole.record.name
        return _Known(
            whole=whole,
            wording=wording,
            listing=listing,
            columns=columns,
            key=key,
            name=name,
            opted_out=OptedOut(mobiles=[], seq=0) if books is None else await books.opted_out(account),
            sighting=await self._sighted(books, _sample_texts(wording, listing, columns), journal),
            held=b"" if whole is None or books is None else await _held(books, whole.record.campaign_id),
            ratio=ratio,
            reserved=() if books is None else await _reserved(books, gate, ratio, mine),
        )

    def _draft(self, known: _Known, cut: Cut, conduct: Conduct) -> Draft:
        wording, lists = known.wording, known.listing.list_files
        return Draft(
            name=known.name,
            account=self._gate.account.account_key,
            profile=self._gate.profile.name,
            order_key=known.key,
            plan_hash=plan_hash(known.key, self._signed_off(known)),
            messages=[wording.message] if isinstance(wording, SameText) else [],
            sources=[_source_record(each) for at, each in enumerate(lists) if at not in cut.left_aside],
            created_at=_now(),
            screened=known.opted_out.seq,
            wording=wording.kept(),
            conduct=conduct,
        )

    def _signed_off(self, known: _Known) -> dict[str, str | int | float | None]:
        return signed_off(self._gate, self._order, known.listing)

    async def _fill(self, unseen: _Unseen, cut: Cut, surveyor: Asker | None) -> Checked | None:
        """Cut the rows and store what they come to. Returns what the gateway says of what they bring, where it is asked."""
        await unseen.begin()
        await self._stream(self._reading.parts(cut), unseen)
        if surveyor is None:
            return None
        checked = await self._checked_rows(surveyor, cut.wording)
        if checked.forbidden:
            await unseen.begin_anew()
        await self._stream(self._reading.rest(checked.forbidden), unseen)
        return checked

    @property
    def _cap(self) -> Cap | None:
        return cap_of(self._gate.settings.radar.max_per_number)

    async def _sighted(self, books: Reader | None, texts: Sequence[str], writes: SqlJournal | None) -> Sighting:
        """Who was reached lately, as far as the journal knows."""
        if books is None:
            return Sighting()
        days = self._gate.settings.radar.days
        return await sighted(books, texts, days=days, cap=self._cap, now=_now(), writes=writes)

    async def _checked_fixed(self, asker: Asker, wording: Wording) -> Checked | None:
        """What the gateway says of the texts before the lists are read; None: it depends on the rows. Raises SendRefused."""
        self._live.phase = N_("asking about forbidden words")
        checked = await check_fixed(asker, wording)
        self._live.phase = N_("reading the list")
        return checked

    async def _checked_rows(self, asker: Asker, wording: Wording) -> Checked:
        """What it says of what the rows bring."""
        assert not isinstance(wording, SameText)
        self._live.phase = N_("asking about forbidden words")
        checked = await check_rows(asker, wording, self._reading.survey, most=self._gate.settings.message.check_most)
        self._live.phase = N_("reading the list")
        return checked

    @asynccontextmanager
    async def _looking(self, journal: SqlJournal | None) -> AsyncIterator[Reader | None]:
        """The journal to look into: our own, or from beside. None: there is none yet, or an older one."""
        path = self._gate.settings.journal_path
        if journal is not None or not path.is_file():
            yield journal
            return
        try:
            beside = await read_journal(path)
        except SchemaMismatch:
            yield None
            return
        try:
            yield beside
        finally:
            await beside.close()

    def _cut(self, known: _Known, balance: Balance | None, *, keeps_batches: bool) -> Cut:
        gate, whole = self._gate, known.whole
        folder = gate.settings.journal_path.parent
        make_folder(folder)
        cut = Cut(
            max_recipients=batch_size(gate),
            distinct=distinct_allowed(
                gate.settings.batch.distinct_sizes,
                prepaid=None if balance is None else balance.prepaid,
                exclusive=gate.account.exclusive,
                max_recipients=batch_size(gate),
            ),
            wording=known.wording,
            columns=known.columns,
            price=gate.profile.price_per_segment,
            rejects=folder / f"{known.name}_xinshi_rejects.csv",
            opted_out=packed(known.opted_out.mobiles),
            keeps_batches=keeps_batches,
            reached=known.sighting.sets,
            most_messages=self._cap.messages if self._cap else None,
        )
        if whole is None:
            return cut
        return replace(
            cut,
            held=known.held,
            first_list=whole.lists,
            left_aside=whole.known_among(known.listing),
            rejects=_unused(folder, whole, self._order.files),
        )

    async def _stream(self, parts: Iterator[Part], unseen: _Unseen) -> None:
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            self._live.rows = part.rows
            await unseen.add(part)

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


def key_of(account_key: str, wording: Wording, listing: Listing, *, into: Addition | None = None) -> str:
    """The order key: account, text and whom the lists name. Another sheet, or another column, is another list of people."""
    lists = [f"{each.sha256} {each.column} {each.inside}" for each in listing.list_files]
    if into is not None:
        lists.append(f"into {into.record.campaign_id}")
    return order_key(account_key, wording.key, lists)


def columns_of(wording: Wording, listing: Listing) -> tuple[tuple[int, ...], ...]:
    """For each list, the columns that the text names. Raises PlanError for a name that is none."""
    return tuple(
        placed(wording.names, header=each.header, width=each.width, source=each.label) for each in listing.list_files
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A campaign to which lists are added: its text, how many lists it has, and which those are."""

    record: CampaignRecord
    wording: Wording
    sources: tuple[SourceRecord, ...]

    @property
    def lists(self) -> int:
        """How many it has."""
        return len(self.sources)

    def known_among(self, listing: Listing) -> frozenset[int]:
        """Those of the lists, by their place, that are in the campaign already."""
        known = {(each.sha256, each.number_column, each.inside) for each in self.sources}
        return frozenset(
            at for at, each in enumerate(listing.list_files) if (each.sha256, each.column_label, each.inside) in known
        )


async def addition(journal: Reader | None, name: str, gate: Gate) -> Addition:
    """The campaign of that name, to be added to. Raises PlanError: there is none, it was cancelled, it is another account's."""
    record = None if journal is None else await journal.find_campaign(name=name)
    if journal is None or record is None:
        raise PlanError(
            _("there is no campaign named {name!r} to add to; `xinshi status` lists them").format(name=name)
        )
    if record.account != gate.account.account_key:
        raise PlanError(_("campaign {name!r} belongs to another account; choose it with --account").format(name=name))
    if record.forgotten_at is not None:
        raise PlanError(
            _("the numbers and the text of {name!r} were forgotten on {at:%Y-%m-%d}").format(
                name=name, at=local(record.forgotten_at)
            )
        )
    if record.stored_state is CampaignState.CANCELLED:
        raise PlanError(
            _(
                "campaign {name!r} was cancelled, so nothing is added to it; send the list as a campaign of its own"
            ).format(name=name)
        )
    frame = frame_of(gate, signature=None, opt_out=None)
    if record.wording:
        wording: Wording = again(record.wording, frame)
    else:
        (message, *others) = await journal.messages(record.campaign_id)
        if any(other.content != message.content for other in others):
            raise PlanError(
                _("campaign {name!r} has several texts, and nothing says which of them new rows get").format(name=name)
            )
        wording = SameText(message=message)
    return Addition(record=record, wording=wording, sources=tuple(await journal.sources(record.campaign_id)))


async def price_ratio(journal: Reader, account: str) -> Decimal | None:
    """Points the gateway charged lately for one that was expected; None: too few answers tell."""
    return ratio_of((each.charge, each.remaining) for each in await journal.last_drops(account, limit=KEPT))


async def _reserved(journal: Reader, gate: Gate, ratio: Decimal | None, mine: str) -> tuple[tuple[str, Decimal], ...]:
    """What the account's other campaigns than `mine` still need, those apart whose time is over."""
    price, now = gate.profile.price_per_segment * (ratio or 1), wall_time()
    return tuple(
        (each.name, each.segments * price)
        for each in await journal.unsent(gate.account.account_key)
        if each.name != mine and (each.expires_at is None or each.expires_at > now)
    )


async def explain_campaign(settings: Settings, gate: Gate, name: str) -> Explained | None:
    """Ask the gateway why it refused texts of a campaign; None where it refused none. Raises JournalError, PlanError."""
    journal = await read_journal(settings.journal_path)
    try:
        record = await journal.find_campaign(name=name)
        if record is None:
            raise PlanError(_("there is no campaign named {name!r}; `xinshi status` lists them").format(name=name))
        texts = await journal.refused_texts(record.campaign_id, limit=_MOST_EXPLAINED)
    finally:
        await journal.close()
    if not texts:
        return None
    frame = frame_of(gate, signature=None, opt_out=None)
    return await explain(gate, again(record.wording, frame) if record.wording else None, texts)


async def _held(journal: Reader, campaign_id: int) -> bytes:
    """The numbers that must not come into a campaign again, packed."""
    seen, after = Seen(), 0
    while found := await journal.held_numbers(campaign_id, after=after):
        after = found[-1][0]
        for __, mobiles in found:
            seen.add(mobiles.split(","))
    return seen.packed()


def _unused(folder: Path, whole: Addition, given: tuple[Path, ...]) -> Path:
    """A file for the rejects of an addition: neither those of the campaign's other lists nor what is being read."""
    read = {path.resolve() for path in given}
    number = whole.lists + 1
    while (path := folder / f"{whole.record.name}_xinshi_rejects-{number}.csv").resolve() in read:
        number += 1
    return path


def _refuse_nobody(listing: Listing, tally: PlanTally) -> None:
    if not tally.recipients:
        left_out = ", ".join(f"{count:,} {_(reason.value)}" for reason, count in tally.excluded.most_common())
        if not tally.rows:
            raise PlanError(_("{names}: it has no row to send to").format(names=_names(listing)))
        raise PlanError(
            _("{names}: none of its {rows:,} rows holds a number that can be sent to ({left_out})").format(
                names=_names(listing), rows=tally.rows, left_out=left_out
            )
        )


def _names(listing: Listing) -> str:
    first, *others = listing.list_files
    return first.label + (_(" and {count} more lists").format(count=len(others)) if others else "")


def refuse_unsigned(order: SendOrder, hashed: str, differing: Callable[[str], Sequence[str]]) -> None:
    """Raises SendRefused where another plan was signed off. `differing` says in words what differs from it, where that is known."""
    if order.signed_off is None or order.signed_off == hashed:
        return
    what = "; ".join(differing(order.signed_off)) or _(
        "nobody knows, because no plan with that hash was made here: list, text, account, pace, batch size, limit, hours, "
        "time to send, canary or points to keep"
    )
    raise SendRefused(
        _(
            "nothing was sent: the plan is {hashed}, not {signed_off}. What differs from what was signed off: "
            "{what}. See `xinshi plan`"
        ).format(hashed=hashed, signed_off=order.signed_off, what=what)
    )


def refuse_name(name: str) -> None:
    """Raises PlanError for what cannot name a campaign."""
    if not name or "/" in name or not name.isprintable() or name[0] in ".-" or len(name.encode()) > _LONGEST_NAME:
        raise PlanError(
            _(
                "{name!r} cannot name a campaign, because its rejects become a file of that name: no slash or control "
                "character, no dot or dash at the beginning, at most {most} letters or {fewest} Chinese characters"
            ).format(name=name, most=_LONGEST_NAME, fewest=_LONGEST_NAME // 3)
        )


def _name_from(listing: Listing) -> str:
    """The first list's own name, as far as it can name a campaign."""
    return "".join(filter(str.isprintable, listing.list_files[0].path.stem)).lstrip(".-")[:_LONGEST_STEM] or "list"


def wording_of(order: SendOrder, gate: Gate) -> SameText | FilledText | OwnText:
    """How the rows of an order are told. Raises PlanError."""
    wording = _worded(order, frame_of(gate, signature=order.signature, opt_out=order.opt_out))
    refuse_no_way_out(wording, gate.settings.message.kind, by_channel=gate.profile.opt_out_by_channel)
    return wording


def _worded(order: SendOrder, frame: Frame) -> SameText | FilledText | OwnText:
    if order.text_column is not None:
        if order.text is not None:
            raise PlanError(
                _("give --text or --text-column, not both: one text for everybody, or a column that holds them")
            )
        (default,) = _defaults(order.defaults, (order.text_column,)).values() or ("",)
        return OwnText(names=(order.text_column,), frame=frame, default=default)
    template = parsed(order.text or "")
    return worded(template, frame, _defaults(order.defaults, template.names))


def _defaults(given: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """The defaults by the names of the text. Raises PlanError for one that the text does not need."""
    by_name = {folded(name) or name: name for name in names}
    found = {}
    for name, value in given.items():
        if (known := by_name.get(folded(name) or name)) is None:
            has = (
                _("it has {names}").format(names=", ".join(f"{{{each}}}" for each in dict.fromkeys(names)))
                if names
                else _("it has no placeholder")
            )
            raise PlanError(
                _("--default {name}=…: the text does not name that column; {has}").format(name=name, has=has)
            )
        found[known] = value
    return found


def frame_of(gate: Gate, *, signature: str | None, opt_out: str | None) -> Frame:
    """What goes around every text: as asked for, else as the account's settings say."""
    profile, account = gate.profile, gate.account
    return Frame(
        signature=signature or account.signature or None,
        signature_position=profile.signature_position.value,
        signature_required=profile.signature_required,
        opt_out=None if profile.opt_out_by_channel else opt_out or account.opt_out or None,
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
            _(
                "batch.max_recipients is {wanted}, and the profile {profile!r} takes at most {most} numbers a request; "
                "with your vendor's word, raise max_recipients in a profile of your own"
            ).format(wanted=wanted, profile=gate.profile.name, most=most)
        )
    fits = numbers_that_fit(gate.account.pace.numbers_per_second, gate.profile.window_s)
    if fits is not None and wanted > fits:
        raise PlanError(
            _(
                "a batch of {wanted} never fits the pace of {pace:g} numbers a second; set batch.max_recipients to "
                "{fits} at most"
            ).format(wanted=wanted, pace=gate.account.pace.numbers_per_second, fits=fits)
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
        **signed(decided(order.wish, gate.settings), gate.settings),
        "checkcontent": gate.profile.checkcontent,
        "kind": gate.settings.message.kind,
        "max_per_number": gate.settings.radar.max_per_number,
        "screening": " ".join(
            [
                *(f"-{each.list_file.sha256}" for each in listing.excluded),
                *(f"+{each.list_file.sha256}" for each in listing.only),
            ]
        ),
    }


def _sample_texts(wording: Wording, listing: Listing, columns: tuple[tuple[int, ...], ...]) -> list[str]:
    """What the first rows of the first list are told, and what all rows are told around the places of the template."""
    if isinstance(wording, SameText):
        return [wording.message.content]
    rows = [tuple(row[at] if at < len(row) else "" for at in columns[0]) for row in listing.list_files[0].preview_rows]
    said = wording.speaker()(list(zip(*rows, strict=True))) if rows else []
    around = ["".join(wording.literals)] if isinstance(wording, FilledText) else []
    return [*(text.content for text in said if isinstance(text, Message)), *around]


def _source_record(source: ListFile) -> SourceRecord:
    return SourceRecord(
        path=str(source.path.resolve()) + (f" | {source.inside}" if source.inside else "")
        if source.path != STANDARD_INPUT
        else "standard input",
        sha256=source.sha256,
        size=source.size,
        encoding=source.encoding,
        number_column=source.column_label,
        inside=source.inside,
        column=source.column,
        first_line=source.first_line,
    )


def _now() -> datetime:
    return datetime.now(UTC)
