"""Points add up: opening + top-ups − charges = closing + unexplained. Pure, over the account's readings in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from engine.journal.port import Reading

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A stretch between two balance readings whose points do not add up. Positive: points are missing."""

    begin: datetime
    end: datetime
    unexplained: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The account's points over the readings given. None where no reading tells it."""

    opening: Decimal | None
    topped_up: Decimal
    remaining: Decimal | None
    unexplained: Decimal | None
    intervals: tuple[Interval, ...]
    read_at: datetime | None = field(default=None, compare=False)  # the last reading
    charged_since: Decimal = field(default=ZERO, compare=False)  # and what was charged after it


def add_up(readings: Sequence[Reading], *, charged_since: Decimal = ZERO) -> Points:
    """Add up the readings; `charged_since` are the charges after the last one, which are expected to be gone already."""
    known, charged_after = _known(readings)
    if not known:
        return Points(opening=None, topped_up=ZERO, remaining=None, unexplained=None, intervals=())
    intervals, topped_up = [], ZERO
    for before, after in pairwise(known):
        bought = _bought(before, after)
        topped_up += bought
        missing = _left(before) + bought - after.charged_since_last - _left(after)
        if missing:
            intervals.append(Interval(begin=before.at, end=after.at, unexplained=missing))
    return Points(
        opening=known[0].remaining,
        topped_up=topped_up,
        remaining=_left(known[-1]) - charged_after - charged_since,
        unexplained=sum((interval.unexplained for interval in intervals), ZERO),
        intervals=tuple(intervals),
        read_at=known[-1].at,
        charged_since=charged_after + charged_since,
    )


def _bought(before: Reading, after: Reading) -> Decimal:
    """The size of a top-up: all points ever bought, then and now. A vendor that does not tell it tells no top-up."""
    if before.send_total is None or after.send_total is None:
        return ZERO
    return max(ZERO, after.send_total - before.send_total)


def _known(readings: Sequence[Reading]) -> tuple[list[Reading], Decimal]:
    """The readings that tell a number, each with the charges since the one before, and the charges after the last of them.

    A reading without a number splits the charges; they all belong to the interval around it.
    """
    known, charged = [], ZERO
    for reading in readings:
        charged += reading.charged_since_last
        if reading.remaining is not None:
            known.append(replace(reading, charged_since_last=charged))
            charged = ZERO
    return known, charged


def _left(reading: Reading) -> Decimal:
    assert reading.remaining is not None
    return reading.remaining
