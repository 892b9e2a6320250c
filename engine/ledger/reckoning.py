"""Points add up, reading by reading: opening + top-ups − charges = closing + unexplained. Pure, over the account's rows.

A reading splits the charges into those before it and those after it. What was under way at that moment may be on either
side, what is in doubt may be charged or not, and a reading may lag behind. So each reading is compared with the opening,
and may differ from it by as much as these can make up. What goes beyond that is missing, and the interval is named.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from math import gcd

from engine.journal.port import SettledBy, Spending, StretchReading
from engine.language import _, _n
from engine.ledger.evidence import Policy

ZERO = Decimal(0)
_LATEST = datetime.max.replace(tzinfo=UTC)
_TEN_THOUSANDTHS = 10_000  # what the journal holds points in
_MOST_SUMS = 1 << 24  # beyond this many different sums nobody looks whether one fits exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One reading, and what lies between the one before and it. `missing` is what these figures leave open.

    `because`: what may explain how far it is from the opening, in words; "" where nothing must be explained.
    """

    at: datetime
    remaining: Decimal
    charged: Decimal = ZERO
    charges: int = 0
    topped_up: Decimal = ZERO
    missing: Decimal = ZERO  # negative: more was entered than the balance shows
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unexplained:
    """Points that nothing of ours explains, and when that arose. Positive: they are missing."""

    begin: datetime
    end: datetime
    points: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reckoning:
    """An account's readings from the first on. No steps: the gateway told no balance."""

    steps: tuple[Step, ...] = ()
    unexplained: tuple[Unexplained, ...] = ()
    doubtful: Decimal = ZERO  # what everything that is in doubt or in flight would cost
    assumed: Decimal = ZERO  # what of the charges entered for settled doubts may never have been made

    @property
    def charged(self) -> Decimal:
        """What was entered between the first and the last reading."""
        return sum((step.charged for step in self.steps), ZERO)

    @property
    def topped_up(self) -> Decimal:
        """What was bought between the first and the last reading."""
        return sum((step.topped_up for step in self.steps), ZERO)

    @property
    def missing(self) -> Decimal:
        """What the last reading leaves open."""
        return sum((step.missing for step in self.steps), ZERO)


@dataclass(slots=True, kw_only=True)
class _Sides:
    """What may stand on the other side of a reading than where it was entered."""

    not_in_it_yet: list[Decimal] = field(default_factory=list)  # entered before it
    in_it_already: list[Decimal] = field(default_factory=list)  # entered after it
    unknown: Decimal = ZERO  # not entered, and begun before it
    unknowns: int = 0
    assumed: Decimal = ZERO  # entered before it in full, for want of better knowledge


def reckon(
    readings: Sequence[StretchReading], spendings: Sequence[Spending], *, price: Decimal, policy: Policy
) -> Reckoning:
    """Add everything up. `price`: points for a segment. Readings in order; spendings in any."""
    known = [reading for reading in readings if reading.remaining is not None]
    doubtful = sum((_full(row, price) for row in spendings if row.charge is None), ZERO)
    assumed = sum((_assumed(row, price, policy) for row in spendings), ZERO)
    if not known:
        return Reckoning(doubtful=doubtful, assumed=assumed)
    sides = _sides(known, spendings, price, policy)
    steps = _steps(known, spendings)
    judged, unexplained = _judged(steps, sides)
    return Reckoning(steps=judged, unexplained=unexplained, doubtful=doubtful, assumed=assumed)


def _steps(readings: Sequence[StretchReading], spendings: Sequence[Spending]) -> list[Step]:
    ats = [reading.answered_at for reading in readings]
    charged, charges = [ZERO] * len(readings), [0] * len(readings)
    for row in spendings:
        place = len(ats) if row.at is None else bisect_left(ats, row.at)
        if row.charge is not None and 0 < place < len(ats):
            charged[place] += row.charge
            charges[place] += 1
    steps: list[Step] = []
    bought = None
    for reading, points, count in zip(readings, charged, charges, strict=True):
        assert reading.remaining is not None
        told = reading.send_total
        more = ZERO if told is None or bought is None else max(ZERO, told - bought)
        bought = bought if told is None else told
        before = steps[-1].remaining if steps else reading.remaining + points
        missing = before + more - points - reading.remaining
        steps.append(
            Step(
                at=reading.answered_at,
                remaining=reading.remaining,
                charged=points,
                charges=count,
                topped_up=more,
                missing=missing,
            )
        )
    return steps


def _sides(
    readings: Sequence[StretchReading], spendings: Sequence[Spending], price: Decimal, policy: Policy
) -> list[_Sides]:
    sides = [_Sides() for _ in readings]
    answered = [reading.answered_at for reading in readings]
    shown = [reading.asked_at - policy.lag for reading in readings]  # the balance of this moment at the earliest
    for row in spendings:
        begin, end = _bracket(row, policy)
        first = bisect_left(answered, begin)
        for side, at in zip(sides[first:], answered[first:], strict=True):
            if row.charge is None or row.at is None:
                side.unknown += _full(row, price)
                side.unknowns += 1
            elif assumed := _assumed(row, price, policy):
                side.assumed += assumed if row.at <= at else ZERO
            elif row.settled_by is None:
                break  # most of them: only the readings inside its bracket matter
        if row.charge is None or row.at is None:
            continue
        for place in range(first, max(first, bisect_right(shown, end))):
            if row.at <= answered[place]:
                sides[place].not_in_it_yet.append(row.charge)
            else:
                sides[place].in_it_already.append(row.charge)
    return sides


def _bracket(row: Spending, policy: Policy) -> tuple[datetime, datetime]:
    """Between which times the charge was made."""
    begin, end = row.started_at, row.finished_at or _LATEST
    if row.in_doubt and row.may_land_late and row.finished_at is not None:
        end = row.finished_at + policy.patience
    return (begin, end) if row.at is None else (min(begin, row.at), max(end, row.at))


def _full(row: Spending, price: Decimal) -> Decimal:
    return row.size * row.segments * price


def _assumed(row: Spending, price: Decimal, policy: Policy) -> Decimal:
    """A report or a person says that a batch was taken, and not how many of its numbers were counted."""
    if row.charge is None or row.settled_by not in (SettledBy.REPORT, SettledBy.OPERATOR):
        return ZERO
    return min(row.charge, policy.short_bound * row.segments * price)


def _judged(steps: Sequence[Step], sides: Sequence[_Sides]) -> tuple[tuple[Step, ...], tuple[Unexplained, ...]]:
    judged, found = [], []
    drift, begin = ZERO, steps[0].at
    for step, side in zip(steps, sides, strict=True):
        drift += step.missing
        beyond = _beyond(drift, sides[0], side)
        because = _because(drift, beyond, side) if drift or step.missing else ""
        judged.append(replace(step, because=because))
        if beyond:
            found.append(Unexplained(begin=begin, end=step.at, points=beyond))
            drift -= beyond
        begin = step.at
    return tuple(judged), tuple(found)


def _beyond(drift: Decimal, opening: _Sides, side: _Sides) -> Decimal:
    """How much of the distance from the opening nothing explains."""
    if not drift:
        return ZERO
    more = [*side.in_it_already, *opening.not_in_it_yet]
    fewer = [*side.not_in_it_yet, *opening.in_it_already]
    least, most = drift - side.unknown, drift + side.assumed
    if drift > 0:
        below = _nearest_sum(most, more, fewer)
        return max(ZERO, least - below)
    above = -_nearest_sum(-least, fewer, more)
    return min(ZERO, most - above)


def _nearest_sum(most: Decimal, plus: Sequence[Decimal], minus: Sequence[Decimal]) -> Decimal:
    """The largest sum up to `most` (not negative) of some of `plus`, less some of `minus`.

    Where there are too many sums to look at, as if parts could be broken.
    """
    if not plus:
        return ZERO
    limit, *wholes = (int(points * _TEN_THOUSANDTHS) for points in (most, *plus, *minus))
    unit = gcd(*wholes) or 1
    below_zero = sum(wholes[len(plus) :]) // unit
    if (limit + sum(wholes)) // unit > _MOST_SUMS:
        return min(most, sum(plus, ZERO))
    sums = 1 << below_zero  # bit n: n - below_zero units can be made up
    for at, part in enumerate(wholes):
        sums |= sums << part // unit if at < len(plus) else sums >> part // unit
    sums &= (1 << (below_zero + limit // unit + 1)) - 1
    return Decimal((sums.bit_length() - 1 - below_zero) * unit) / _TEN_THOUSANDTHS


def _because(drift: Decimal, beyond: Decimal, side: _Sides) -> str:
    if beyond:
        return _("nothing of ours explains it")
    if not drift:
        return _("it makes up for what was open before")
    if 0 < drift <= side.unknown:
        return _n(
            "{count:,} batch in doubt or being sent may explain it",
            "{count:,} batches in doubt or being sent may explain it",
            side.unknowns,
        ).format(count=side.unknowns)
    if 0 < -drift <= side.assumed:
        return _("batches that a report or a person settled are entered in full, and may have been counted lower")
    return _("requests were under way while the balance was read, or it lags behind")
