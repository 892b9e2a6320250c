"""Points that stay: what may still be spent of an account, while answers are under way. Pure.

The balance is surely not below the least that an answer has told, less everything under way: what was charged after that
answer is still under way, or is told by a lower one.
"""

from __future__ import annotations

from decimal import Decimal

from engine.ledger.points import ZERO
from engine.ledger.price import SeenPrice
from engine.model import Outcome, OutcomeKind


class Floor:
    """Keeps at least `keep` points of a balance. Costs are handed in as expected; `ratio` says what a point really costs."""

    def __init__(self, keep: Decimal, *, balance: Decimal, ratio: Decimal | None = None) -> None:
        self.keep, self._known = keep, balance
        self._ratio = ratio  # as known before
        self._under_way = ZERO  # expected points, those of doubts included
        self._doubtful = ZERO
        self._seen = SeenPrice()

    @property
    def ratio(self) -> Decimal:
        """Points really charged for a point expected, as far as anybody knows."""
        return self._seen.ratio or self._ratio or Decimal(1)

    @property
    def left(self) -> Decimal:
        """What may still be spent, at least."""
        return self._known - self._under_way * self.ratio - self.keep

    @property
    def may_tell_more(self) -> bool:
        """Whether answers are expected that tell how much is left."""
        return self._under_way > self._doubtful

    @property
    def keeps_for_doubts(self) -> bool:
        """Whether points are kept for doubts, which may have ended since without costing any."""
        return self._doubtful > 0

    def admit(self, cost: Decimal) -> bool:
        """Whether so much may be spent now. If so it is under way, until `leave`."""
        if cost * self.ratio > self.left:
            return False
        self._under_way += cost
        return True

    def leave(self, cost: Decimal, outcome: Outcome | None, charge: Decimal | None) -> None:
        """What was admitted has come to an outcome; None: it never left. A doubt stays under way: it may be charged.

        See `end_doubt`.
        """
        if outcome is not None and outcome.kind is OutcomeKind.IN_DOUBT:
            self._doubtful += cost
            return
        self._under_way -= cost
        if outcome is None or outcome.kind is not OutcomeKind.ACCEPTED or charge is None:
            return
        if outcome.remaining is None:
            self._known -= charge * self.ratio
            return
        self._seen.note(charge, outcome.remaining)
        if self._under_way == 0 and not self._doubtful and charge > 0 and outcome.remaining < self._known:
            self._ratio = (self._known - outcome.remaining) / charge  # it was alone
        self._known = min(self._known, outcome.remaining)

    def end_doubt(self, cost: Decimal, *, taken: bool) -> None:
        """A doubt of this cost has ended. What it cost may not be in any answer yet."""
        self._doubtful -= cost
        self._under_way -= cost
        if taken:
            self._known -= cost * self.ratio
