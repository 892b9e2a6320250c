"""Drives settlement: looks, reads the balance in silence, waits out patience, and writes down how doubts end.

What the evidence says is decided in ledger/ (pure); here it is gathered and carried out.
    a pass:   rows of the journal → ledger.stretch → ledger.settlement, ledger.binding → journal.settle
    a drain:  the pool falls silent → two equal balance reads → a pass
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from engine.dispatch.pool import Pool
from engine.dispatch.waiting import first_of, unless_set
from engine.errors import GatewayError, PlanError
from engine.journal.conducting import Drop
from engine.journal.port import Journal, OpenDoubt, Orphan, SettledBy, Settling, SettlingJournal
from engine.language import N_, _, _n
from engine.ledger.binding import ReportPolicy, bind_reports
from engine.ledger.evidence import AttemptKey, Finding, Policy, Source, Verdict, operator_word
from engine.ledger.settlement import Settlement, settle
from engine.ledger.stretch import beginnings, holders, orphan_reports, stretch_of
from engine.model import Balance
from engine.moments import local, zone_beside
from engine.runs.looking import charges_when_taken
from engine.runs.steering import SENDING
from engine.telemetry import logger

FEWEST_TO_DRAIN = 4
"""Open doubts, at least, before sending falls silent for them."""
WITHOUT_SIZES = 8
"""Open doubts that are too many when all batches are of one size."""
PASS_EVERY_S = 5.0
DRAIN_SHARE = 20
"""A drain for doubts whose patience is over may take one part in this many of the time."""
QUIET_TRIES = 3
READINGS_BACK = (0, 2, 6, 30)
"""A stretch from the last reading may hold too few answers to believe the balance; then it is begun earlier."""


class Books(SettlingJournal, Journal, Protocol):
    """The journal as settlement needs it."""

    async def orphans(self, account: str) -> list[Orphan]:
        """The reports whose task id no attempt of the account has."""
        ...

    async def last_drops(self, account: str, *, limit: int, scheduled: bool = False) -> list[Drop]:
        """What the last accepted answers said of the balance; `scheduled`: those to what is sent later."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What a pass came to. `off`: why the balance says nothing of the doubts that are open; None where it may yet."""

    taken: int = 0
    not_taken: int = 0
    open: tuple[OpenDoubt, ...] = ()
    off: str | None = None


async def _nothing_to_send() -> bool:
    return False


class Settler:
    """Settles the doubts of one account. `read_balance` asks the gateway; `clock` never jumps; `tell` shows what is done."""

    def __init__(
        self,
        account: str,
        journal: Books,
        *,
        read_balance: Callable[[], Awaitable[Balance]],
        clock: Callable[[], datetime],
        policy: Policy,
        price: Decimal,
        tell: Callable[[str], None] = lambda words: None,
        announce: Callable[[str], None] = lambda words: None,
        on_ended: Callable[[OpenDoubt, Decimal | None], None] = lambda doubt, charge: None,
    ) -> None:
        """`announce` tells once what takes long; `on_ended` is told of every doubt that ends, with its charge where it was taken."""
        self._account, self._journal, self._read_balance = account, journal, read_balance
        self._clock, self._policy, self._price = clock, policy, price
        self.tell, self._announce, self.on_ended = tell, announce, on_ended
        self._unseen = 0  # doubts since the last silence
        self._sizes = 0  # how many different ones the campaign has
        self._avoided: dict[int, datetime] = {}  # sizes of doubts, until when their charge may still come
        self._news = asyncio.Event()
        self._passing = asyncio.Lock()

    # -- what is seen ----------------------------------------------------------------------------------------------

    def note_doubt(self, size: int, *, may_land_late: bool) -> None:
        """A request with so many numbers has just come to doubt."""
        self._unseen += 1
        self._news.set()
        if may_land_late:
            self._avoid(size, self._clock() + self._policy.patience)

    @property
    def avoided_sizes(self) -> Collection[int]:
        """Sizes of batches that had better wait: a doubt of that size is open, and its charge would look like theirs.

        Never half of the sizes a campaign has, so that sending goes on.
        """
        if self._avoided and min(self._avoided.values()) <= self._clock():
            self._avoided = {size: until for size, until in self._avoided.items() if until > self._clock()}
        return self._avoided.keys()

    def _avoid(self, size: int, until: datetime) -> None:
        if not self.is_forbidden and len(self._avoided) + 1 < self._sizes / 2:
            self._avoided[size] = max(until, self._avoided.get(size, until))

    async def read(self, campaign_id: int | None) -> Balance:
        """Read the balance once and enter it. Raises GatewayError."""
        asked_at = self._clock()
        balance = replace(await self._read_balance(), at=self._clock())
        self._policy = replace(self._policy, prepaid=balance.prepaid)
        await self._journal.record_reading(self._account, balance, campaign_id=campaign_id, asked_at=asked_at)
        return balance

    async def quiet(self, campaign_id: int | None) -> bool:
        """Read the balance until two reads far enough apart are equal. Nothing may be in flight. False: it never was."""
        try:
            before = await self.read(campaign_id)
            for _ in range(QUIET_TRIES):
                await asyncio.sleep(self._policy.balance_settle_s)
                after = await self.read(campaign_id)
                if (before.remaining, before.send_total) == (after.remaining, after.send_total):
                    self._unseen = 0
                    return True
                before = after
        except GatewayError as error:
            logger.warning("the balance could not be read for settlement", extra={"problem": str(error)})
        return False

    @property
    def is_forbidden(self) -> bool:
        """Whether settings or profile say that the balance of this account proves nothing."""
        policy = self._policy
        told = policy.prepaid is not False and policy.remainpoint_meaningful
        return not (told and policy.exclusive and not policy.refunds)

    # -- a pass ----------------------------------------------------------------------------------------------------

    async def look(self) -> Passed:
        """One pass over everything that is in doubt: end what the evidence can end, and say of the rest what it waits for."""
        async with self._passing:
            doubts = await self._journal.open_doubts(self._account)
            by_key = {_key(doubt): doubt for doubt in doubts}
            verdicts, charges, off = await self._by_balance(doubts)
            ended: dict[AttemptKey, Verdict] = {}
            for key, verdict in {**verdicts, **await self._by_reports(verdicts)}.items():
                if key in by_key and verdict.finding is not Finding.OPEN:
                    by_balance = verdict.source is Source.BALANCE
                    guess = self._clock() if by_balance else by_key[key].gave_up_at
                    points, charged_at = charges.get(key, (None, guess))
                    charge = (await self._full_charge(by_key[key]) if points is None else points, charged_at)
                    settling = _settling(verdict, self._clock(), charge)
                    if await self._journal.settle(self._account, settling):
                        ended[key] = verdict
                        self.on_ended(by_key[key], settling.charge)
            left = await self._note_waiting({k: d for k, d in by_key.items() if k not in ended}, verdicts)
        still = {doubt.size for doubt in left if doubt.may_land_late} if off is None else set[int]()
        self._avoided = {size: until for size, until in self._avoided.items() if size in still}
        taken = sum(verdict.finding is Finding.TAKEN for verdict in ended.values())
        return Passed(taken=taken, not_taken=len(ended) - taken, open=left, off=off)

    async def _by_balance(
        self, doubts: list[OpenDoubt]
    ) -> tuple[dict[AttemptKey, Verdict], dict[AttemptKey, tuple[Decimal | None, datetime]], str | None]:
        """What the balance says of the doubts, with what was charged for those taken, and why it says nothing."""
        verdicts: dict[AttemptKey, Verdict] = {}
        charges: dict[AttemptKey, tuple[Decimal | None, datetime]] = {}
        off = None
        if not doubts:
            return verdicts, charges, off
        policy = self._policy
        if not policy.short_counts and await self._journal.saw_short_count(self._account):
            policy = replace(policy, short_counts=True)
        policy = replace(policy, charges_when_taken=await charges_when_taken(self._journal, self._account))
        asked, tried = await self._journal.reading_times(self._account), set[datetime]()
        for back in READINGS_BACK:
            left = [doubt for doubt in doubts if not _is_ended(verdicts.get(_key(doubt)))]
            for since in beginnings(left, asked, lag=policy.lag, back=back):
                if since in tried:
                    continue
                tried.add(since)
                rows = await self._journal.account_stretch(self._account, since=since, patience=policy.patience)
                stretch = stretch_of(rows, price=self._price, policy=policy, now=self._clock())
                settlement = await asyncio.to_thread(settle, stretch)
                off = settlement.off
                for verdict in settlement.verdicts:
                    if not _is_ended(verdicts.get(verdict.key)):
                        verdicts[verdict.key] = verdict
                        charges.update(_charges(settlement, verdict.key))
        return verdicts, charges, off

    async def _by_reports(self, said: dict[AttemptKey, Verdict]) -> dict[AttemptKey, Verdict]:
        """What reports under unknown task ids say of the doubts; attempts taken by other evidence get their task id."""
        nameless = await self._journal.nameless(self._account)
        if all(row.in_flight for row in nameless):
            return {}
        orphans = orphan_reports(await self._journal.orphans(self._account))
        if not orphans:
            return {}
        since = min(row.started_at for row in nameless) - timedelta(days=1)
        emptied = await self._journal.first_emptied(self._account, since=since)
        bindings = bind_reports(
            orphans,
            holders(nameless, {key: verdict.finding for key, verdict in said.items()}),
            emptied_at=[] if emptied is None else [emptied],
            policy=ReportPolicy(exclusive=self._policy.exclusive),
        )
        for verdict in bindings.verdicts:
            assert verdict.task_id is not None
            key = verdict.key
            await self._journal.name_task(key.batch_id, key.number, verdict.task_id, verdict.evidence)
        return {verdict.key: verdict for verdict in bindings.verdicts}

    async def _full_charge(self, doubt: OpenDoubt) -> Decimal:
        return doubt.size * await self._journal.segments_of(doubt.batch_id) * self._price

    async def _note_waiting(
        self, left: dict[AttemptKey, OpenDoubt], verdicts: dict[AttemptKey, Verdict]
    ) -> tuple[OpenDoubt, ...]:
        words = {key: verdicts[key].evidence if key in verdicts else _(_NO_READING) for key in left}
        changed = [
            (key.batch_id, key.number, words[key]) for key, doubt in left.items() if doubt.waits_for != words[key]
        ]
        if changed:
            await self._journal.note_waiting(changed)
        return tuple(replace(doubt, waits_for=words[key]) for key, doubt in left.items())

    # -- beside sending --------------------------------------------------------------------------------------------

    async def beside(
        self, pool_now: Callable[[], Pool | None], campaign_id: int | None, *, sizes: int, over: asyncio.Event
    ) -> None:
        """Settle while a campaign is being sent, or several (None), until `over`. `sizes`: how many different batch sizes it has.

        Sending falls silent for it when open doubts get too many to be told apart, and, seldom, for those whose patience is over.
        """
        self._sizes = sizes
        most = max(FEWEST_TO_DRAIN, sizes // 2) if sizes > 1 else WITHOUT_SIZES
        next_drain, wait_s = self._clock(), PASS_EVERY_S
        passed = await self.look()
        while not over.is_set():
            self._news.clear()
            if self._unseen < most:
                await first_of(over, self._news, timeout=wait_s)
            if over.is_set() or (self._unseen < most and self._news.is_set()):
                continue
            begun, pool = self._clock(), pool_now()
            may_drain = pool is not None and not self.is_forbidden and passed.off is None
            if may_drain and (self._unseen >= most or (self._has_aged(passed) and begun >= next_drain)):
                assert pool is not None
                await self._drain(pool, campaign_id, over)
                next_drain = self._clock() + DRAIN_SHARE * (self._clock() - begun)
            elif not may_drain:
                self._unseen = 0
            begun = self._clock()
            passed = await self.look()
            wait_s = max(PASS_EVERY_S, DRAIN_SHARE * (self._clock() - begun).total_seconds())

    def _has_aged(self, passed: Passed) -> bool:
        return any(doubt.gave_up_at + self._policy.patience <= self._clock() for doubt in passed.open)

    async def _drain(self, pool: Pool, campaign_id: int | None, over: asyncio.Event) -> None:
        self.tell(_("reading the balance in silence, to settle doubts"))
        try:
            await pool.silence()
            await unless_set(over, self.quiet(campaign_id))
        finally:
            pool.go_on()
            self._unseen = 0
            self.tell(SENDING)

    # -- at the end ------------------------------------------------------------------------------------------------

    async def until_settled(
        self, campaign_id: int, *, give_up: asyncio.Event, may_send: Callable[[], Awaitable[bool]] = _nothing_to_send
    ) -> None:
        """Do what can be done for the open doubts of a campaign; nothing may be in flight.

        Reads the balance in silence, waits out patience and reads it again; returns sooner when something `may_send` be sent,
        when the balance cannot help, or at `give_up`. Reports are joined as they come, but not waited for.
        """
        patient = False
        while not give_up.is_set() and (
            doubts := await self._journal.open_doubts(self._account, campaign_id=campaign_id)
        ):
            if not self.is_forbidden:
                self.tell(
                    _("settling {recipients} in doubt: reading the balance in silence").format(
                        recipients=_recipients(doubts)
                    )
                )
                await unless_set(give_up, self.quiet(campaign_id))
            passed = await self.look()
            mine = [doubt for doubt in passed.open if doubt.campaign_id == campaign_id]
            if not mine or patient or self.is_forbidden or passed.off is not None or await may_send():
                return
            await self._wait_until(
                max(doubt.gave_up_at for doubt in mine) + self._policy.patience, mine, give_up, may_send
            )
            patient = True

    async def _wait_until(
        self,
        at: datetime,
        doubts: list[OpenDoubt],
        give_up: asyncio.Event,
        may_send: Callable[[], Awaitable[bool]],
    ) -> None:
        """Wait out patience; reports may settle everything sooner."""
        self._announce(
            _(
                "In doubt: {recipients}. The answers were lost, and the gateway may still take them. Waiting until "
                "{at} (settlement.min_age_s); then the balance tells. Ctrl-C ends it; `run` goes on later."
            ).format(recipients=_recipients(doubts), at=f"{local(at):%H:%M:%S}{zone_beside(at)}")
        )
        while (left_s := (at - self._clock()).total_seconds()) > 0 and not give_up.is_set():
            self.tell(
                _("{recipients} in doubt, waiting {span}").format(recipients=_recipients(doubts), span=_span(left_s))
            )
            await first_of(give_up, timeout=min(left_s, PASS_EVERY_S))
            passed = await self.look()
            open_keys = {(doubt.batch_id, doubt.number) for doubt in passed.open}
            if await may_send() or not any((doubt.batch_id, doubt.number) in open_keys for doubt in doubts):
                return


async def assume(
    journal: Books,
    account: str,
    *,
    campaign: str,
    seq: int,
    taken: bool,
    by: str,
    reason: str,
    price: Decimal,
    at: datetime,
    on_ended: Callable[[OpenDoubt, Decimal | None], None] = lambda doubt, charge: None,
) -> int:
    """Carry out a named person's decision about one batch in doubt. Returns its recipients. Raises PlanError.

    `on_ended` is told of it, as a settler's is.
    """
    doubts = [doubt for doubt in await journal.open_doubts(account) if doubt.campaign == campaign]
    mine = [doubt for doubt in doubts if doubt.seq == seq]
    if not mine:
        open_now = ", ".join(str(doubt.seq) for doubt in doubts[:20]) or _("none")
        raise PlanError(
            _("batch {seq} of {campaign} is not in doubt; in doubt are: {open_now}").format(
                seq=seq, campaign=campaign, open_now=open_now
            )
        )
    (doubt,) = mine
    key = AttemptKey(batch_id=doubt.batch_id, number=doubt.number)
    verdict = operator_word(key, taken=taken, by=by, reason=reason, at=at)
    charge = doubt.size * await journal.segments_of(doubt.batch_id) * price
    settling = _settling(verdict, at, (charge, doubt.gave_up_at))
    if not await journal.settle(account, settling):
        raise PlanError(
            _("batch {seq} of {campaign} has just been settled; see: xinshi audit {campaign}").format(
                seq=seq, campaign=campaign
            )
        )
    on_ended(doubt, settling.charge)
    return doubt.size


_NO_READING = N_("no balance was read before it was sent; a delivery report or an operator must settle it")
_BY = {Source.BALANCE: SettledBy.BALANCE, Source.REPORT: SettledBy.REPORT, Source.OPERATOR: SettledBy.OPERATOR}


def _settling(verdict: Verdict, at: datetime, charge: tuple[Decimal, datetime]) -> Settling:
    taken = verdict.finding is Finding.TAKEN
    return Settling(
        batch_id=verdict.key.batch_id,
        number=verdict.key.number,
        taken=taken,
        by=_BY[verdict.source],
        evidence=verdict.evidence,
        at=at,
        task_id=verdict.task_id,
        charge=charge[0] if taken else None,
        charged_at=charge[1] if taken else None,
    )


def _key(doubt: OpenDoubt) -> AttemptKey:
    return AttemptKey(batch_id=doubt.batch_id, number=doubt.number)


def _is_ended(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.finding is not Finding.OPEN


def _charges(settlement: Settlement, key: AttemptKey) -> dict[AttemptKey, tuple[Decimal | None, datetime]]:
    """What the gaps say of an attempt that fills one: its charge, None where it shares the gap, and when that was at the latest.

    That is just before the answer or reading that shows it missing: so the points add up between any two readings.
    """
    mine = [fact for fact in settlement.gaps if key in (fact.taken_by or ())]
    if not mine:
        return {}
    alone = len(mine) == 1 and mine[0].taken_by == (key,)
    at = max(fact.gap.end for fact in mine) - timedelta(microseconds=1)
    return {key: (mine[0].gap.points if alone else None, at)}


def _recipients(doubts: list[OpenDoubt]) -> str:
    count = sum(doubt.size for doubt in doubts)
    return _n("{count:,} recipient", "{count:,} recipients", count).format(count=count)


def _span(seconds: float) -> str:
    whole = round(seconds)
    return (
        _("{minutes} min {seconds} s").format(minutes=whole // 60, seconds=whole % 60)
        if whole >= 60
        else _("{whole} s").format(whole=whole)
    )
