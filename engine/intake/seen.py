"""The numbers a campaign holds already, in little memory: three million are 22 MB, a set of strings would be 280 MB."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from operator import length_hint

from pyroaring import BitMap64


class Seen:
    """A set of mobiles, fed a stretch at a time. Mobiles are 11 ASCII digits; order and lines are not kept."""

    def __init__(self, packed: bytes = b"") -> None:
        """`packed`: what is known from before, as `packed` gives it."""
        self._numbers = BitMap64.deserialize(packed) if packed else BitMap64()

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, mobile: str) -> bool:
        return int(mobile) in self._numbers

    @property
    def numbers(self) -> BitMap64:
        """All of them; not to be changed."""
        return self._numbers

    def packed(self) -> bytes:
        """All of them as bytes, as `screening.packed` gives them."""
        return bytes(self._numbers.serialize()) if self._numbers else b""

    def add(self, mobiles: Iterable[str]) -> None:
        """Remember these, whether they are known or not."""
        self._numbers.update(map(int, mobiles))

    def admit(self, mobiles: list[str]) -> list[int]:
        """Remember all of `mobiles`; returns the ascending positions of those that were known or stand twice in it."""
        repeats: list[int] = []
        coming = iter(mobiles)
        # Look-up and insertion in one walk, driven by C: a loop in Python, or asking before adding, takes half as long again.
        added = map(self._numbers.add_checked, map(int, coming))
        while True:
            try:
                deque(added, maxlen=0)
            except KeyError:
                repeats.append(len(mobiles) - length_hint(coming) - 1)
            else:
                return repeats
