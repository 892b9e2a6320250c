"""Who was reached when, as sets of mobiles: which recipients are among them, and who has had enough.

Ten millions are some 28 MB as bytes. Sets of 32 bits are several times as fast as those of 64, so a mobile is taken apart: all of
them begin with one of two high words, and everything is done for each of these parts by itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pyroaring import BitMap, BitMap64

ANY, ALIKE = 0, 1
"""What `Lately.counted` has beside the campaigns: anything lately, and nearly the same text lately."""


class ReachedSet(NamedTuple):
    """Whom a campaign reached within an hour, packed. `campaign` is a number above 1; the rest says what the set counts for."""

    campaign: int
    lately: bool  # it was in the days that are looked back
    alike: bool  # with nearly the same text
    capped: bool  # it was in the time of the cap
    of_lists: bool  # not of a queue
    numbers: bytes
    missed: bytes = b""  # those of them who were not reached after all, packed


class Hours:
    """Gathers mobiles under the hour in which they were reached."""

    def __init__(self) -> None:
        self._hours: dict[int, BitMap64] = {}

    def add(self, hour: int, mobiles: Iterable[str]) -> None:
        """Add mobiles of 11 ASCII digits."""
        self._hours.setdefault(hour, BitMap64()).update(map(int, mobiles))

    def packed(self, *, before: int | None = None) -> list[tuple[int, bytes]]:
        """The hours in order, each with its set; `before`: only those. Lets go of them, since a set takes several times its bytes."""
        hours = sorted(hour for hour in self._hours if before is None or hour < before)
        return [(hour, bytes(self._hours.pop(hour).serialize())) for hour in hours]


class Lately:
    """The sets of those who were reached lately. `most`: messages a number may have had; None: as many as it likes.

    `enough`: who has had so many. Of a campaign of lists nobody has more than one, of a queue one an hour is counted.
    """

    def __init__(self, sets: Sequence[ReachedSet], *, most: int | None = None) -> None:
        opened = [(each, _opened(each)) for each in sets]
        self._lately = [(each, parts) for each, parts in opened if each.lately]
        self.enough = BitMap64() if most is None else _whole(_enough(opened, most))

    def counted(self, recipients: BitMap64) -> dict[int, int]:
        """How many of the recipients are in each campaign with nearly the same text, in any of these, in anything at all."""
        if not self._lately:
            return {}
        counts = {ANY: 0, ALIKE: 0}
        for part, wanted in _parts(recipients.serialize()).items():
            rest = wanted.copy()  # who is in none of the sets so far: it gets smaller, and what is small costs little
            for each, parts in self._lately:
                if each.alike and part in parts:
                    count = wanted.intersection_cardinality(parts[part])
                    counts[each.campaign] = counts.get(each.campaign, 0) + count
                    rest -= parts[part]
            counts[ALIKE] += len(wanted) - len(rest)
            for each, parts in self._lately:
                if not each.alike and part in parts:
                    rest -= parts[part]
            counts[ANY] += len(wanted) - len(rest)
        return counts


_COUNT, _PART = struct.Struct("<Q"), struct.Struct("<I")
_Parts = dict[int, BitMap]


def _parts(packed: bytes) -> _Parts:
    """A packed set of 64 bits as sets of the low 32, by the high 32. That is how it is packed: the format is Roaring's own."""
    (count,), at = _COUNT.unpack_from(packed), _COUNT.size
    parts: _Parts = {}
    for number in range(count):
        (part,) = _PART.unpack_from(packed, at)
        at += _PART.size
        parts[part] = BitMap.deserialize(packed[at:])
        at += len(parts[part].serialize()) if number + 1 < count else 0
    return parts


def _whole(parts: _Parts) -> BitMap64:
    """The set of 64 bits that has these parts."""
    packed = [_PART.pack(part) + numbers.serialize() for part, numbers in sorted(parts.items()) if numbers]
    return BitMap64.deserialize(_COUNT.pack(len(packed)) + b"".join(packed))


def _opened(each: ReachedSet) -> _Parts:
    parts = _parts(each.numbers)
    for part, missed in (_parts(each.missed) if each.missed else {}).items():
        if part in parts:
            parts[part] -= missed
    return parts


def _enough(opened: Sequence[tuple[ReachedSet, _Parts]], most: int) -> _Parts:
    every = sorted({part for _, parts in opened for part in parts})
    return {
        part: _in_at_least(most, _messages([(each, parts[part]) for each, parts in opened if part in parts]))
        for part in every
    }


def _messages(opened: Sequence[tuple[ReachedSet, BitMap]]) -> list[BitMap]:
    """Sets in which everybody stands once for a message."""
    of_lists: dict[int, list[BitMap]] = {}
    for each, numbers in opened:
        if each.capped and each.of_lists:
            of_lists.setdefault(each.campaign, []).append(numbers)
    of_queues = [numbers for each, numbers in opened if each.capped and not each.of_lists]
    return [*(_together(hours) for hours in of_lists.values()), *of_queues]


def _in_at_least(times: int, sets: Sequence[BitMap]) -> BitMap:
    """Everybody who is in so many of the sets, or in more."""
    if len(sets) < times:
        return BitMap()
    return sets[0] if len(sets) == 1 else _in_both(*_halves(sets, times), times)  # who is in fewer of all is not asked


def _counted_up(sets: Sequence[BitMap], times: int) -> list[BitMap]:
    """[n]: who is in more than n of the sets. As many as there are sets, at most `times`.

    By halves: added one by one, each set would be laid against everybody so far, and that is what costs.
    """
    if len(sets) == 1:
        return [*sets]
    one, other = _halves(sets, times)
    return [_in_both(one, other, wanted) for wanted in range(1, min(times, len(sets)) + 1)]


def _halves(sets: Sequence[BitMap], times: int) -> tuple[list[BitMap], list[BitMap]]:
    """Two or more sets as two halves that are counted up."""
    middle = len(sets) // 2
    return _counted_up(sets[:middle], times), _counted_up(sets[middle:], times)


def _in_both(one: Sequence[BitMap], other: Sequence[BitMap], wanted: int) -> BitMap:
    """Who is in `wanted` sets or more of two halves that are counted up."""
    whole = [half[wanted - 1] for half in (one, other) if len(half) >= wanted]
    split = [(here, wanted - here) for here in range(1, wanted) if here <= len(one) and wanted - here <= len(other)]
    return _together([*whole, *(one[here - 1] & other[there - 1] for here, there in split)])


def _together(sets: Sequence[BitMap]) -> BitMap:
    """Their union. One into the other: pyroaring's union of many takes three times as long."""
    if len(sets) == 1:
        return sets[0]
    whole = sets[0] | sets[1]
    for each in sets[2:]:
        whole |= each
    return whole
