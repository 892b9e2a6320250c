"""What a plan comes to, counted while its chunks and batches stream by."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from engine.model import Chunk, Excluded, Exclusion, Message, PlannedBatch

SAMPLES = 3


class PlanTally:
    """The sums of a plan. Flat: besides the sums it keeps the first exclusions of each reason, as they stand in the list."""

    def __init__(self, message: Message, *, price: Decimal = Decimal(1)) -> None:
        """`price`: points for one segment to one recipient."""
        self._message, self._price = message, price
        self.rows = 0
        self.extra = 0
        self.recipients = 0
        self.excluded: Counter[Exclusion] = Counter()
        self.samples: dict[Exclusion, list[Excluded]] = {}
        self.batches = 0
        self.smallest_batch = 0
        self.largest_batch = 0

    def add_chunk(self, chunk: Chunk) -> None:
        """Count a chunk as it is planned: after screening, since an opted-out row is an exclusion."""
        self.rows += chunk.rows
        self.extra += chunk.extra
        self.recipients += len(chunk.mobiles)
        for row in chunk.excluded:
            self.excluded[row.reason] += 1
            samples = self.samples.setdefault(row.reason, [])
            if len(samples) < SAMPLES:
                samples.append(row)

    def add_batch(self, batch: PlannedBatch) -> None:
        """Count a batch and its size."""
        self.smallest_batch = min(self.smallest_batch, batch.size) if self.batches else batch.size
        self.largest_batch = max(self.largest_batch, batch.size)
        self.batches += 1

    @property
    def segments(self) -> int:
        """Billed segments, over all recipients."""
        return self.recipients * self._message.segments

    @property
    def points(self) -> Decimal:
        """What the campaign should cost."""
        return self.segments * self._price


def forecast_s(
    batches: int,
    recipients: int,
    *,
    requests_per_second: float,
    numbers_per_second: float,
    window_s: float,
    in_flight: int,
    latency_s: float | None = None,
) -> float:
    """How long sending takes, in seconds, from the first request to the last answer, when nothing is slower than configured.

    A rate of 0 is no limit; a window lets its whole allowance go at once at the beginning. `latency_s` is the time an answer
    takes, None when not known: then it is left out.
    """
    if batches == 0:
        return 0.0
    paced = max(_paced_s(batches, requests_per_second, window_s), _paced_s(recipients, numbers_per_second, window_s))
    if latency_s is None:
        return paced
    rounds = -(-batches // in_flight)
    return max(paced + latency_s, rounds * latency_s)


def _paced_s(amount: int, per_second: float, window_s: float) -> float:
    """When the last of `amount` may start."""
    if per_second <= 0:
        return 0.0
    at_once = max(1.0, per_second * window_s)
    return max(0.0, amount - at_once) / per_second
