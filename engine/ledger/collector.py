"""The collector: task ids and success counts against the remaining balance, while a campaign runs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from engine.ledger.points import ZERO
from engine.ledger.price import SeenPrice
from engine.model import BatchState, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is. Recipients by the state their batch came to; points as expected and as the gateway last said."""

    accepted: int
    refused: int
    in_doubt: int
    requests: int
    tasks: int
    shortfall: int
    charged: Decimal
    expected_remaining: Decimal | None
    reported_remaining: Decimal | None


class Collector:
    """Adds up a run as its attempts end. The journal holds the same figures; this is the live view of them."""

    def __init__(self, *, opening: Decimal | None) -> None:
        self._opening = opening
        self._recipients = dict.fromkeys(BatchState, 0)
        self._requests = self._tasks = self._shortfall = 0
        self._charged = ZERO
        self._lowest: Decimal | None = None
        self._seen = SeenPrice()

    def note(self, outcome: Outcome, *, size: int, then: BatchState, charge: Decimal | None) -> None:
        """One attempt of `size` numbers came to its end."""
        self._requests += 1
        self._recipients[then] += size
        if then is not BatchState.ACCEPTED:
            return
        self._tasks += 1
        self._charged += charge or ZERO
        if outcome.success_counts is not None:
            self._shortfall += max(0, size - outcome.success_counts)
        if outcome.remaining is not None:
            self._seen.note(charge or ZERO, outcome.remaining)
            # Answers overtake each other; the smallest balance is the newest.
            self._lowest = outcome.remaining if self._lowest is None else min(self._lowest, outcome.remaining)

    @property
    def ratio(self) -> Decimal | None:
        """Points really charged for a point expected, as the answers tell; None: they do not (yet)."""
        return self._seen.ratio

    def leaves(self, recipients: int) -> Decimal | None:
        """The points that will be left when so many more were sent to, at what they cost so far; None: nobody can tell."""
        now, accepted = self._lowest, self._recipients[BatchState.ACCEPTED]
        if now is None or not accepted:
            return None
        return now - (recipients * self._charged * (self.ratio or 1) / accepted).quantize(Decimal(1))

    def note_settled(self, size: int, *, taken: bool, charge: Decimal | None) -> None:
        """A doubt of `size` numbers has ended; not taken, they will be sent again. It may be older than this run."""
        self._recipients[BatchState.IN_DOUBT] = max(0, self._recipients[BatchState.IN_DOUBT] - size)
        if taken:
            self._recipients[BatchState.ACCEPTED] += size
            self._charged += charge or ZERO

    def progress(self) -> Progress:
        """The figures of this moment."""
        return Progress(
            accepted=self._recipients[BatchState.ACCEPTED],
            refused=self._recipients[BatchState.REFUSED],
            in_doubt=self._recipients[BatchState.IN_DOUBT],
            requests=self._requests,
            tasks=self._tasks,
            shortfall=self._shortfall,
            charged=self._charged,
            expected_remaining=None if self._opening is None else self._opening - self._charged,
            reported_remaining=self._lowest,
        )
