"""What a plan comes to, counted while its chunks and batches stream by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from operator import attrgetter

from engine.model import Chunk, Excluded, Exclusion, Message, PlannedBatch

SAMPLES = 3
_SEGMENTS, _UNITS, _SIZE = attrgetter("segments"), attrgetter("units"), attrgetter("size")


class PlanTally:
    """The sums of a plan. Flat: besides the sums it keeps the first exclusions of each reason, as they stand in the list."""

    def __init__(self, message: Message | None, *, price: Decimal = Decimal(1)) -> None:
        """`message`: what everybody gets, None where texts differ. `price`: points for one segment to one recipient."""
        self._message, self._price = message, price
        self.rows = 0
        self.extra = 0
        self.recipients = 0
        self.excluded: Counter[Exclusion] = Counter()
        self.samples: dict[Exclusion, list[Excluded]] = {}
        self.texts = 0 if message is None else 1
        self.spread: Counter[int] = Counter()  # segments -> recipients
        self.longest: tuple[int, Message] | None = None  # with its line
        self.text_samples: list[tuple[int, Message]] = []
        self.reached: dict[int, int] = {}  # recipients that were reached lately; see intake/reached.py
        self.batches = 0
        self.smallest_batch = 0
        self.largest_batch = 0

    def add_chunk(self, chunk: Chunk) -> None:
        """Count a chunk as it is planned: after screening, since an opted-out row is an exclusion."""
        self.rows += chunk.rows
        self.extra += chunk.extra
        self.recipients += len(chunk.mobiles)
        if chunk.texts:
            self._add_texts(chunk.lines, chunk.texts)
        elif self._message is not None:
            self.spread[self._message.segments] += len(chunk.mobiles)
        for row in chunk.excluded:
            self.excluded[row.reason] += 1
            samples = self.samples.setdefault(row.reason, [])
            if len(samples) < SAMPLES:
                samples.append(row)

    def _add_texts(self, lines: Sequence[int], texts: Sequence[Message]) -> None:
        self.spread.update(map(_SEGMENTS, texts))
        self.text_samples += list(zip(lines[:SAMPLES], texts[:SAMPLES], strict=True))[
            : SAMPLES - len(self.text_samples)
        ]
        longest = max(texts, key=_UNITS)
        if self.longest is None or longest.units > self.longest[1].units:
            self.longest = lines[texts.index(longest)], longest

    def add_batches(self, batches: Sequence[PlannedBatch]) -> None:
        """Count batches and their sizes."""
        if not batches:
            return
        sizes = list(map(_SIZE, batches))
        self.smallest_batch = min(self.smallest_batch, *sizes) if self.batches else min(sizes)
        self.largest_batch = max(self.largest_batch, *sizes)
        self.batches += len(batches)

    @property
    def segments(self) -> int:
        """Billed segments, over all recipients."""
        return sum(segments * recipients for segments, recipients in self.spread.items())

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
