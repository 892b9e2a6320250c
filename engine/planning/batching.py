"""Recipient -> Batch: how large batches are, and which recipients stand in them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice, repeat
from operator import attrgetter
from typing import Literal

from engine.errors import PlanError
from engine.language import _
from engine.lines import pack_lines
from engine.model import Chunk, Message, PlannedBatch

# A lost answer is settled by the gap it left in the balance, so the batches around it must differ in size. More different
# sizes settle more doubts and cost more requests: 16 % below the limit are at most 9 % more of them.
_SPREAD_PERCENT = 16
_MOST_SIZES = 64
MOST_GROUPS = 16_384  # texts that are being gathered at a time …
MOST_WAITING = 400_000  # … and recipients in them; then the older half goes out as it is
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
        raise PlanError(
            _("a batch holds at least 1 recipient, not {max_recipients}").format(max_recipients=max_recipients)
        )
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

    def new_messages(self) -> list[tuple[int, Message]]:
        """None: the one message is there before the first batch."""
        return []

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


class _Group:
    """The recipients of one text that wait for a batch of `size`. `message`: its number in the campaign, 0 before its first batch."""

    __slots__ = ("lines", "message", "mobiles", "size")

    def __init__(self, first: tuple[str, int], size: int) -> None:
        self.message, self.size = 0, size
        self.mobiles, self.lines = [first[0]], [first[1]]


_SIZE = attrgetter("size")
_new_batch = partial(tuple.__new__, PlannedBatch)  # what PlannedBatch._make does, without a step into Python


class Grouper:
    """Cuts Chunks in which texts differ: every batch has one text, and rows with the same text share batches.

    Nobody lost, nobody twice, never above the limit. Flat in memory: at most `most_groups` texts gather at a time, and the older
    half makes room for more; a text that comes again after that is a message once more.
    """

    def __init__(
        self, max_recipients: int, *, distinct: bool, most_groups: int = MOST_GROUPS, most_waiting: int = MOST_WAITING
    ) -> None:
        """Raises PlanError as `batch_sizes` does."""
        self._sizes = batch_sizes(max_recipients, distinct=distinct)
        self._most_groups, self._most_waiting = most_groups, most_waiting
        # A text that came once is only its recipient: most have one where there are many.
        self._groups: dict[Message, tuple[str, int] | _Group] = {}
        self._waiting = 0
        self._seq = 0
        self._messages: list[tuple[int, Message]] = []
        self._last_message = 0

    def add(self, chunk: Chunk) -> list[PlannedBatch]:
        """The batches that `chunk` fills, and those that had to make room."""
        texts, groups = chunk.texts or [], self._groups
        planned: list[PlannedBatch] = []
        if len(set(texts)) == len(texts) and groups.keys().isdisjoint(texts):
            groups.update(zip(texts, zip(chunk.mobiles, chunk.lines, strict=True), strict=True))
        else:
            planned = self._joined(chunk.mobiles, chunk.lines, texts)
        self._waiting += len(texts) - sum(map(_SIZE, planned))
        if len(groups) > self._most_groups or self._waiting > self._most_waiting:
            planned += self._emptied(len(groups) // 2 + 1)
        return planned

    def finish(self) -> list[PlannedBatch]:
        """What is left: a batch for every text that still has recipients."""
        return self._emptied(len(self._groups))

    def new_messages(self) -> list[tuple[int, Message]]:
        """The messages, with their numbers, that came up since this was asked last. No batch came before its message."""
        fresh, self._messages = self._messages, []
        return fresh

    def _joined(self, mobiles: list[str], lines: list[int], texts: list[Message]) -> list[PlannedBatch]:
        groups, planned = self._groups, []
        for mobile, line, text in zip(mobiles, lines, texts, strict=True):
            group = groups.get(text)
            if group is None:
                groups[text] = (mobile, line)
                continue
            if isinstance(group, tuple):
                group = groups[text] = _Group(group, next(self._sizes))
            if len(group.mobiles) == group.size:
                planned.append(self._cut(text, group))
                del groups[text]
                groups[text] = group  # behind those that were not needed lately
                group.mobiles, group.lines, group.size = [], [], next(self._sizes)
            group.mobiles.append(mobile)
            group.lines.append(line)
        return planned

    def _emptied(self, many: int) -> list[PlannedBatch]:
        """Let go of the first so many groups, each with what it has."""
        gone = list(islice(self._groups.items(), many))
        for text, __ in gone:
            del self._groups[text]
        alone = [(text, group) for text, group in gone if isinstance(group, tuple)]
        planned = [self._cut(text, group) for text, group in gone if isinstance(group, _Group)]
        planned += self._alone(alone)
        self._waiting -= sum(map(_SIZE, planned))
        return planned

    def _alone(self, told: list[tuple[Message, tuple[str, int]]]) -> list[PlannedBatch]:
        """Batches of one, all at once: there may be millions."""
        if not told:
            return []
        texts, only = zip(*told, strict=True)
        mobiles, lines = zip(*only, strict=True)
        seqs = range(self._seq + 1, self._seq + 1 + len(told))
        numbers = range(self._last_message + 1, self._last_message + 1 + len(told))
        self._seq, self._last_message = seqs[-1], numbers[-1]
        self._messages += zip(numbers, texts, strict=True)
        return list(map(_new_batch, zip(seqs, repeat(1), mobiles, map(str, lines), numbers)))

    def _cut(self, text: Message, group: _Group) -> PlannedBatch:
        self._seq += 1
        group.message = group.message or self._numbered(text)
        return PlannedBatch(
            seq=self._seq,
            size=len(group.mobiles),
            mobiles=",".join(group.mobiles),
            lines=pack_lines(group.lines),
            message=group.message,
        )

    def _numbered(self, text: Message) -> int:
        self._last_message += 1
        self._messages.append((self._last_message, text))
        return self._last_message
