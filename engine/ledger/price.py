"""What the gateway really charges, learned from how the balance falls between accepted answers. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise

KEPT = 64
FEWEST = 3
"""Neighbours on the balance line that must agree before a price is believed."""
_LOOK_EVERY = 8


class SeenPrice:
    """Points really charged for a point expected. Answers in any order: side by side by what they left, they tile the balance."""

    def __init__(self) -> None:
        self._drops: deque[tuple[Decimal, Decimal]] = deque(maxlen=KEPT)
        self._unseen, self._look_at = 0, 1  # answers: those that came since the last look, and how many are worth one
        self._ratio: Decimal | None = None

    def note(self, charge: Decimal, remaining: Decimal) -> None:
        """An accepted answer, expected to cost `charge`, left so much."""
        if charge > 0:
            self._drops.append((remaining, charge))
            self._unseen += 1

    @property
    def ratio(self) -> Decimal | None:
        """Most neighbours agree on it; None: too few answers, or something else moved the balance."""
        if self._unseen >= self._look_at:
            self._ratio, self._unseen = _agreed(sorted(self._drops, reverse=True)), 0
            self._look_at = KEPT  # all that is kept, once the price is known
            if self._ratio is None:
                self._look_at = 1 if len(self._drops) < KEPT else _LOOK_EVERY
        return self._ratio


def ratio_of(drops: Iterable[tuple[Decimal, Decimal]]) -> Decimal | None:
    """Points really charged for a point expected, by what answers were expected to cost and what they left; None: too few tell."""
    seen = SeenPrice()
    for charge, remaining in drops:
        seen.note(charge, remaining)
    return seen.ratio


def _agreed(falling: list[tuple[Decimal, Decimal]]) -> Decimal | None:
    ratios = Counter((above - below) / charge for (above, _), (below, charge) in pairwise(falling))
    least = min((ratio for ratio in ratios if ratio > 0), default=None)
    if least is None:
        return None
    # What lies between two answers, a lost one or somebody else's, makes the fall deeper and never less deep.
    return least if ratios[least] >= FEWEST and 2 * ratios[least] > ratios.total() else None
