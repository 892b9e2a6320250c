"""Recipient -> Batch: how large batches are, and which recipients stand in them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Literal

from engine.errors import PlanError
from engine.lines import pack_lines
from engine.model import Chunk, PlannedBatch

# A lost answer is settled by the gap it left in the balance, so the batches around it must differ in size. More different
# sizes settle more doubts and cost more requests: 16 % below the limit are at most 9 % more of them.
_SPREAD_PERCENT = 16
_MOST_SIZES = 64
_LEAST_FOR_DISTINCT = 50  # recipients a batch: below it, too few sizes fit into the spread to tell batches apart


def distinct_allowed(
    setting: Literal["auto"] | bool, *, prepaid: bool | None, exclusive: bool, max_recipients: int
) -> bool:
    """Whether neighbouring batches get different sizes. "auto": where the balance can tell them apart, and cheaply."""
    if setting == "auto":
        return prepaid is not False and exclusive and max_recipients >= _LEAST_FOR_DISTINCT
    return setting


def batch_sizes(max_recipients: int, *, distinct: bool) -> Iterator[int]:
    """The sizes of the batches, without end: max_recipients, one less, … and again; always the same when not distinct.

    The number of different sizes is min(64, 16 % of max_recipients). Raises PlanError where max_recipients is below 1.
    """
    if max_recipients < 1:
        raise PlanError(f"a batch holds at least 1 recipient, not {max_recipients}")
    different = min(_MOST_SIZES, max_recipients * _SPREAD_PERCENT // 100) if distinct else 1
    return cycle(range(max_recipients, max_recipients - max(1, different), -1))


class Batcher:
    """Cuts a stream of Chunks into batches: nobody lost, nobody twice, input order kept, never above the limit.

    The membership of a batch is fixed when it is given out. `finish` gives the last, smaller one.
    """

    def __init__(self, max_recipients: int, *, distinct: bool, message: int = 1, first_seq: int = 1) -> None:
        """`message`: the campaign's message the batches carry, counted from 1. Raises PlanError as `batch_sizes` does."""
        self._sizes = batch_sizes(max_recipients, distinct=distinct)
        self._size = next(self._sizes)
        self._message = message
        self._seq = first_seq
        self._mobiles: list[str] = []
        self._lines: list[int] = []

    def add(self, chunk: Chunk) -> list[PlannedBatch]:
        """The batches that `chunk` fills, in order. What is left waits for the next one."""
        self._mobiles += chunk.mobiles
        self._lines += chunk.lines
        planned: list[PlannedBatch] = []
        begin = 0
        while begin + self._size <= len(self._mobiles):
            end = begin + self._size
            planned.append(self._cut(begin, end))
            begin = end
            self._size = next(self._sizes)
        del self._mobiles[:begin], self._lines[:begin]
        return planned

    def finish(self) -> list[PlannedBatch]:
        """The remainder: one batch, or none."""
        remainder = [self._cut(0, len(self._mobiles))] if self._mobiles else []
        self._mobiles, self._lines = [], []
        return remainder

    def _cut(self, begin: int, end: int) -> PlannedBatch:
        batch = PlannedBatch(
            seq=self._seq,
            size=end - begin,
            mobiles=",".join(self._mobiles[begin:end]),
            lines=pack_lines(self._lines[begin:end]),
            message=self._message,
        )
        self._seq += 1
        return batch
