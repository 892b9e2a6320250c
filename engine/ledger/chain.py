"""The balance chain: what the answers say of the balance, laid side by side, and where it has gaps.

Every accepted answer carries the balance after its own charge, so it covers (remaining, remaining + charge] of the
account's balance line; a balance reading is a point on it. From the opening down these links tile the line. A gap is a
charge nobody claims; the send and answer times of its neighbours bracket when it arose. Pure.

Points are whole numbers here, of a unit so small that every charge is one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, pairwise

from engine.language import _
from engine.ledger.evidence import Answered, BalanceRead, Doubt, InFlight, Policy, Standing, Stretch, amount, clock

EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
NEIGHBOURS_NEEDED = 3
"""Undisturbed neighbours that must tile before the chain is believed; the price is learned from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One known place on the line: after it the balance was `bottom`. It happened between `begin` and `end`."""

    bottom: int
    charge: int  # 0: a reading
    begin: datetime  # EARLIEST: a single reading, which may lag behind
    end: datetime
    name: str
    seq: int = 0

    @property
    def top(self) -> int:
        """The balance just before it."""
        return self.bottom + self.charge


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A charge nobody claims, between two links. It arose between `begin` and `end`; EARLIEST where nothing tells."""

    size: int
    points: Decimal
    begin: datetime
    end: datetime
    above: Link
    below: Link

    def __str__(self) -> str:
        since = self.above.name if self.begin == EARLIEST else clock(self.begin)
        return _("{points} points between {since} and {end} (above {below}, below {above})").format(
            points=amount(self.points), since=since, end=clock(self.end), below=self.below.name, above=self.above.name
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An attempt that may have been charged at an unknown place of the line, between `begin` and `end`."""

    row: Doubt | InFlight | Answered
    begin: datetime
    end: datetime
    is_certain: bool  # it was charged, only where is not known
    charge: int = 0  # whole, in the chain's units

    @property
    def name(self) -> str:
        """For people: batch 12 of spring."""
        return named(self.row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The line as far as it is known. `off`: why nothing may be concluded from it, None when it may.

    What was charged before `first_end` or after `seen_until` may lie outside the line. Up to `told_until` the points bought
    are known (LATEST where the vendor does not tell them). `unit` is what one whole number is in points.
    """

    off: str | None
    links: tuple[Link, ...] = ()
    gaps: tuple[Gap, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    price: Fraction = Fraction(1)  # what is really charged for a point expected
    unit: Fraction = Fraction(1)
    first_end: datetime = LATEST
    seen_until: datetime = EARLIEST
    told_until: datetime = LATEST

    def points(self, units: int) -> Decimal:
        """Whole numbers of the line as points."""
        exact = units * self.unit
        return Decimal(exact.numerator) / Decimal(exact.denominator)


def named(row: Doubt | InFlight | Answered) -> str:
    """A batch as people know it."""
    return _("batch {seq} of {campaign}").format(seq=row.seq, campaign=row.campaign)


def read_chain(stretch: Stretch) -> Chain:
    """Lay the account's answers and readings side by side. Any order of the rows gives the same chain."""
    off = _forbidden(stretch.policy) or _time_trouble(stretch) or _due_trouble(stretch)
    if off is not None:
        return Chain(off=off)
    placed, unplaced = _take_out_top_ups(stretch)
    if isinstance(placed, str):
        return Chain(off=placed)
    scale = 10 ** max((_places(points) for points in _all_points(stretch)), default=0)
    links = [*_charges(placed, scale), *_readings(stretch, scale)]
    links.sort(key=lambda link: (-link.bottom, -link.top, link.begin, link.end, link.name))
    candidates = _candidates(stretch, unplaced, scale)
    if not links:
        return Chain(off=_("no answer and no reading tells the balance yet"), candidates=candidates)
    return replace(_laid(links, candidates, Fraction(1, scale)), told_until=_told_until(stretch))


# -- what forbids it beforehand ------------------------------------------------------------------------------------


def _forbidden(policy: Policy) -> str | None:
    """What the settings or the profile say against it."""
    if policy.prepaid is False:
        return _("the account is postpaid: its balance proves nothing")
    if not policy.exclusive:
        return _("the account is shared (exclusive = false): others spend from its balance")
    if not policy.remainpoint_meaningful:
        return _("the balance in this vendor's answers means nothing (its profile says so)")
    if policy.refunds:
        return _("this vendor gives points back for failed messages")
    return None


def _time_trouble(stretch: Stretch) -> str | None:
    """A clock that was set makes every bracket worthless."""
    spans = [
        *((row.sent_at, row.answered_at) for row in stretch.answered),
        *((row.sent_at, row.gave_up_at) for row in stretch.doubts),
        *((row.sent_at, row.sent_at) for row in stretch.in_flight),
        *((row.asked_at, row.answered_at) for row in stretch.reads),
    ]
    if any(begin > end or end > stretch.now for begin, end in spans):
        return _("the clock was set back: an end lies before its beginning, or in the future")
    return None


def _due_trouble(stretch: Stretch) -> str | None:
    """What is sent later may be charged later, in one sum with what is in doubt."""
    if not stretch.fell_due or stretch.policy.charges_when_taken:
        return None
    return _("the gateway sent scheduled messages in this time, and no answer shows that it charged them before")


# -- the links -----------------------------------------------------------------------------------------------------


def _places(points: Decimal) -> int:
    exponent = points.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _all_points(stretch: Stretch) -> Iterable[Decimal]:
    for row in stretch.answered:
        yield row.charge
        if row.remaining is not None:
            yield row.remaining
    yield from (row.full_charge for row in stretch.doubts)
    yield from (row.full_charge for row in stretch.in_flight)
    for read in stretch.reads:
        yield from (points for points in (read.remaining, read.send_total) if points is not None)


def _charges(placed: Sequence[tuple[Answered, Decimal]], scale: int) -> list[Link]:
    return [
        Link(
            bottom=int(remaining * scale),
            charge=int(row.charge * scale),
            begin=row.sent_at,
            end=row.answered_at,
            name=named(row),
            seq=row.seq,
        )
        for row, remaining in placed
    ]


def _readings(stretch: Stretch, scale: int) -> list[Link]:
    """Single readings may lag, so they say when something had happened, never when it had not yet; quiet ones say both."""
    reads = sorted(stretch.reads, key=_by_time)
    bought = _bought(reads)
    busy = _busy(stretch)
    was_topped_up = any(bought)
    links = []
    for at, read in enumerate(reads):
        if read.remaining is None or (was_topped_up and read.send_total is None):
            continue
        begin = _quiet_since(reads[: at + 1], busy, stretch.policy)
        links.append(
            Link(
                bottom=int((read.remaining - bought[at]) * scale),
                charge=0,
                begin=begin or EARLIEST,
                end=read.answered_at,
                name=(
                    _("the quiet reading of {remaining} at {at}") if begin else _("the reading of {remaining} at {at}")
                ).format(remaining=amount(read.remaining), at=clock(read.answered_at)),
            )
        )
    return links


def _by_time(read: BalanceRead) -> tuple[object, ...]:
    return read.asked_at, read.answered_at, read.remaining or 0, read.send_total or 0


def _busy(stretch: Stretch) -> tuple[list[datetime], list[datetime]]:
    """When something was in flight: merged spans as their begins and their ends."""
    spans = [(row.sent_at, row.answered_at) for row in stretch.answered]
    spans += [(row.sent_at, row.gave_up_at) for row in stretch.doubts]
    spans += [(row.sent_at, LATEST) for row in stretch.in_flight]
    begins: list[datetime] = []
    ends: list[datetime] = []
    for begin, end in sorted(spans):
        if ends and begin <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            begins.append(begin)
            ends.append(end)
    return begins, ends


def _quiet_since(
    reads: Sequence[BalanceRead], busy: tuple[list[datetime], list[datetime]], policy: Policy
) -> datetime | None:
    """When the last reading began to be a quiet one: equal readings before it, long enough apart, nothing in flight."""
    last, (begins, ends) = reads[-1], busy
    for read in reversed(reads[:-1]):
        if (read.remaining, read.send_total) != (last.remaining, last.send_total):
            return None
        at = bisect_left(ends, read.asked_at)
        if at < len(begins) and begins[at] <= last.answered_at:
            return None
        if last.asked_at - read.answered_at >= policy.lag:
            return read.asked_at
    return None


# -- top-ups -------------------------------------------------------------------------------------------------------


def _bought(reads: Sequence[BalanceRead]) -> list[Decimal]:
    """How much was bought since the first reading that tells it, as known at each reading."""
    first: Decimal | None = None
    known = Decimal(0)
    found = []
    for read in reads:
        if read.send_total is not None:
            first = read.send_total if first is None else first
            known = read.send_total - first
        found.append(known)
    return found


def _take_out_top_ups(stretch: Stretch) -> tuple[list[tuple[Answered, Decimal]] | str, list[Answered]]:
    """The answers with their balance as it would be had nobody paid in; and those that tell no balance.

    A sentence in place of the answers when one cannot be placed before or after a top-up for certain.
    """
    told = sorted((row for row in stretch.reads if row.send_total is not None), key=_by_time)
    bought = _bought(told)
    if any(after < before for before, after in pairwise(bought)):
        return _("the points ever bought became fewer between two readings"), []
    placed: list[tuple[Answered, Decimal]] = []
    unplaced = [row for row in stretch.answered if row.remaining is None]
    steps = _TopUps(told, bought, stretch.policy)
    for row in sorted(stretch.answered, key=lambda row: row.key):
        if row.remaining is None:
            continue
        possible = steps.possible(row, row.remaining)
        if len(possible) != 1:
            return _("a top-up cannot be told from what happened around {name}").format(name=named(row)), []
        placed.append((row, row.remaining - possible[0]))
    return placed, unplaced


def _told_until(stretch: Stretch) -> datetime:
    told = [read.asked_at for read in stretch.reads if read.send_total is not None]
    return max(told) - stretch.policy.lag if told else LATEST


class _TopUps:
    """Between which readings the points ever bought grew, and what that leaves for an answer's balance."""

    def __init__(self, reads: Sequence[BalanceRead], bought: Sequence[Decimal], policy: Policy) -> None:
        self._reads, self._bought = reads, bought
        self._answered = list(accumulate((read.answered_at for read in reads), max))
        self._asked = [read.asked_at for read in reads]
        self._lag = policy.lag

    def possible(self, row: Answered, remaining: Decimal) -> list[Decimal]:
        """What may have been bought before this answer: the sums that keep its charge between the readings around it."""
        if not self._reads:
            return [Decimal(0)]
        before = bisect_right(self._answered, row.sent_at) - 1  # the last reading surely before it
        after = bisect_left(self._asked, row.answered_at + self._lag)  # the first one surely after it
        least = max(before, 0)
        sums = sorted(set(self._bought[least : after + 1]))
        if len(sums) <= 1:
            return sums or [self._bought[-1]]
        highest = self._left(before) if before >= 0 else None
        lowest = self._left(after) if after < len(self._reads) else None
        return [
            bought
            for bought in sums
            if (highest is None or remaining - bought + row.charge <= highest)
            and (lowest is None or remaining - bought >= lowest)
        ]

    def _left(self, at: int) -> Decimal | None:
        remaining = self._reads[at].remaining
        return None if remaining is None else remaining - self._bought[at]


# -- candidates ----------------------------------------------------------------------------------------------------


def _candidates(stretch: Stretch, unplaced: Sequence[Answered], scale: int) -> tuple[Candidate, ...]:
    """Everything that may have been charged without saying where: doubtful, in flight, or answered without a balance."""
    slowest = max((row.answered_at - row.sent_at for row in stretch.answered), default=None)
    found = []
    for doubt in stretch.doubts:
        # A request that was cut off may still be worked on for as long as the slowest answer took.
        end = doubt.gave_up_at if slowest is None else max(doubt.gave_up_at, doubt.sent_at + slowest)
        if doubt.may_land_late:
            end = max(end, doubt.gave_up_at + stretch.policy.patience)
        is_certain = doubt.standing is Standing.REPORTED
        charge = int(doubt.full_charge * scale)
        found.append(Candidate(row=doubt, begin=doubt.sent_at, end=end, is_certain=is_certain, charge=charge))
    for flight in stretch.in_flight:
        charge = int(flight.full_charge * scale)
        found.append(Candidate(row=flight, begin=flight.sent_at, end=LATEST, is_certain=False, charge=charge))
    for row in unplaced:
        charge = int(row.charge * scale)
        found.append(Candidate(row=row, begin=row.sent_at, end=row.answered_at, is_certain=True, charge=charge))
    return tuple(sorted(found, key=lambda candidate: candidate.row.key))


# -- laying them side by side --------------------------------------------------------------------------------------


def _laid(links: list[Link], candidates: tuple[Candidate, ...], unit: Fraction) -> Chain:
    """Learn the price, then find the gaps, or what contradicts the chain."""
    lows = list(accumulate((link.begin for link in links), max))
    highs = list(accumulate((link.end for link in reversed(links)), min))[::-1]
    price, off = _learn_price(links, lows, highs, candidates)
    links, candidates, unit = _priced(links, candidates, price, unit)
    chain = Chain(
        off=off or _out_of_order(links, lows, highs) or _overlapping(links),
        links=tuple(links),
        candidates=candidates,
        price=price,
        unit=unit,
        first_end=highs[0],
        seen_until=lows[-1],
    )
    gaps = tuple(
        Gap(
            size=above.bottom - below.top,
            points=chain.points(above.bottom - below.top),
            begin=lows[at],
            end=highs[at + 1],
            above=above,
            below=below,
        )
        for at, (above, below) in enumerate(pairwise(links))
        if above.bottom > below.top
    )
    return replace(chain, gaps=gaps)


def _learn_price(
    links: Sequence[Link], lows: Sequence[datetime], highs: Sequence[datetime], candidates: Sequence[Candidate]
) -> tuple[Fraction, str | None]:
    """What is really charged for a point expected, from neighbours between which nothing else can have been charged.

    Where doubts disturb all of them, neighbours that touch at the expected price are believed too.
    """
    begins = sorted(candidate.begin for candidate in candidates)
    ends = sorted(candidate.end for candidate in candidates)
    touching, prices = 0, []
    for at, (above, below) in enumerate(pairwise(links)):
        if below.charge <= 0:
            continue
        drop = above.bottom - below.bottom
        touching += drop == below.charge
        if bisect_right(begins, highs[at + 1]) == bisect_left(ends, lows[at]):  # no candidate's bracket meets this one
            prices.append(Fraction(drop, below.charge))
    expected = Fraction(1)
    if not prices:
        if touching >= NEIGHBOURS_NEEDED:
            return expected, None
        return (
            expected,
            _("only {touching} neighbours tile so far; {needed} are needed to believe the balance").format(
                touching=touching, needed=NEIGHBOURS_NEEDED
            ),
        )
    least, most = min(prices), max(prices)
    if least != most:
        if least < expected:
            return expected, _("the intervals of the balance overlap: it is not read together with the charge")
        return expected, _("points are missing where nothing of ours can have been charged: an unexplained step")
    if len(prices) >= NEIGHBOURS_NEEDED or (least == expected and touching >= NEIGHBOURS_NEEDED):
        return (least, None) if least > 0 else (expected, _("the balance does not move with the charges"))
    return expected, _("only {count} undisturbed neighbours tell the price; {needed} are needed").format(
        count=len(prices), needed=NEIGHBOURS_NEEDED
    )


def _priced(
    links: list[Link], candidates: tuple[Candidate, ...], price: Fraction, unit: Fraction
) -> tuple[list[Link], tuple[Candidate, ...], Fraction]:
    """The same line with what is really charged."""
    if price == 1:
        return links, candidates, unit
    up, down = price.numerator, price.denominator
    links = [replace(link, bottom=link.bottom * down, charge=link.charge * up) for link in links]
    candidates = tuple(replace(candidate, charge=candidate.charge * up) for candidate in candidates)
    return links, candidates, unit / down


def _out_of_order(links: Sequence[Link], lows: Sequence[datetime], highs: Sequence[datetime]) -> str | None:
    """Something further down the line ended before something above it began: points came in, or a reading lags."""
    for link, low, high in zip(links, lows, highs, strict=True):
        if low > high:
            return _(
                "the balance rose, or lags, around {name}: a top-up nobody told of, a refund, or an answer that tells an "
                "older balance"
            ).format(name=link.name)
    return None


def _overlapping(links: Sequence[Link]) -> str | None:
    for above, below in pairwise(links):
        if below.top > above.bottom:
            return _(
                "the intervals of {above} and {below} overlap: the balance is not read together with the charge, or "
                "points came in"
            ).format(above=above.name, below=below.name)
    return None
