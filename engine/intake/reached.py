"""Who was reached when, as sets of mobiles: which recipients are among them, and who has had enough.

Ten millions are some 28 MB as bytes. Comparing set with set is cheap only where one of them is small, so everybody together is
one set, and the single ones are looked at for those who are in that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pyroaring import BitMap64

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

    def packed(self) -> list[tuple[int, bytes]]:
        """The hours in order, each with its set."""
        return [(hour, bytes(numbers.serialize())) for hour, numbers in sorted(self._hours.items())]


class Lately:
    """The sets of those who were reached lately. `most`: messages a number may have had; None: as many as it likes.

    `enough`: who has had so many. Of a campaign of lists nobody has more than one, of a queue one an hour is counted.
    """

    def __init__(self, sets: Sequence[ReachedSet], *, most: int | None = None) -> None:
        opened = [(each, _opened(each)) for each in sets]
        self._lately = [(each, numbers) for each, numbers in opened if each.lately]
        self._anybody = _together(numbers for _, numbers in self._lately)
        self.enough = BitMap64() if most is None else _in_at_least(most, _messages(opened))

    def counted(self, recipients: BitMap64) -> dict[int, int]:
        """How many of the recipients are in each campaign with nearly the same text, in any of these, in anything at all."""
        if not self._lately:
            return {}
        again = recipients & self._anybody
        counts = {ANY: len(again)}
        alike = BitMap64()
        for each, numbers in self._lately if again else ():
            if each.alike:
                both = again & numbers
                counts[each.campaign] = counts.get(each.campaign, 0) + len(both)
                alike |= both
        return counts | {ALIKE: len(alike)}


def _opened(each: ReachedSet) -> BitMap64:
    numbers = BitMap64.deserialize(each.numbers)
    if each.missed:
        numbers -= BitMap64.deserialize(each.missed)
    return numbers


def _messages(opened: Sequence[tuple[ReachedSet, BitMap64]]) -> list[BitMap64]:
    """Sets in which everybody stands once for a message."""
    of_lists: dict[int, list[BitMap64]] = {}
    for each, numbers in opened:
        if each.capped and each.of_lists:
            of_lists.setdefault(each.campaign, []).append(numbers)
    of_queues = [numbers for each, numbers in opened if each.capped and not each.of_lists]
    return [*(_together(hours) for hours in of_lists.values()), *of_queues]


def _in_at_least(times: int, sets: Sequence[BitMap64]) -> BitMap64:
    """Everybody who is in so many of the sets, or in more."""
    more_than = [BitMap64() for _ in range(times)]  # [n]: who is in more than n of the sets so far
    if len(sets) < times:
        return BitMap64()
    for at, numbers in enumerate(sets):
        for times_before in range(min(times - 1, at), 0, -1):
            more_than[times_before] |= more_than[times_before - 1] & numbers
        more_than[0] |= numbers
    return more_than[-1]


def _together(sets: Iterable[BitMap64]) -> BitMap64:
    whole = BitMap64()
    for each in sets:
        whole |= each
    return whole
