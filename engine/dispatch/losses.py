"""Into how many parts a batch is split while answers get lost: a lost answer puts a whole batch in doubt. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from engine.model import Outcome, OutcomeKind

LOOKED_AT = 32  # attempts
FEWEST = 4  # lost answers: fewer are an accident
BEGINS, ENDS = 0.15, 0.07
"""The share of lost answers at which splitting begins, and below which whole batches go again."""
_PARTS = ((0.50, 8), (0.25, 4), (0.0, 2))
LEAST_PART = 10  # recipients: smaller ones cost more requests than they save doubts


class Losses:
    """Watches how many of the last attempts got no answer."""

    def __init__(self) -> None:
        self._lost: deque[bool] = deque(maxlen=LOOKED_AT)
        self._count = 0  # of them lost
        self.is_lossy = False

    def note(self, outcome: Outcome) -> None:
        """An attempt came to its end. What was never sent, or turned away at the door, tells nothing of answers."""
        if outcome.kind in (OutcomeKind.NOT_SENT, OutcomeKind.NOT_TAKEN):
            return
        lost = outcome.kind is OutcomeKind.IN_DOUBT
        if not (lost or self._count or self.is_lossy) and len(self._lost) == LOOKED_AT:
            return  # nothing was lost before, and nothing is
        self._count += lost - (self._lost[0] if len(self._lost) == LOOKED_AT else False)
        self._lost.append(lost)
        if self.is_lossy:
            self.is_lossy = self.share >= ENDS
        else:
            self.is_lossy = self._count >= FEWEST and self.share >= BEGINS

    @property
    def share(self) -> float:
        """Lost answers among the last attempts. A few attempts say little: they count as half of those that are looked at."""
        return self._count / max(len(self._lost), LOOKED_AT // 2)

    def parts(self, size: int) -> int:
        """Into how many parts a batch of `size` numbers goes now; 1: it stays whole."""
        if not self.is_lossy:
            return 1
        wanted = next(parts for share, parts in _PARTS if self.share >= share)
        return max(1, min(wanted, size // LEAST_PART))


def split_sizes(size: int, parts: int, *, avoiding: Collection[int] = ()) -> tuple[int, ...]:
    """`parts` different sizes that add up to `size`, as like each other as may be, and none of `avoiding` where that works.

    The balance tells lost answers apart by their sizes.
    """
    found = [_spread(size, parts, step, shift) for step in (1, 2, 3) for shift in range(parts + 2)]
    fitting = [sizes for sizes in found if min(sizes) >= 1 and len(set(sizes)) == parts]
    if not fitting:
        return _spread(size, parts, 0, 0)
    return min(fitting, key=lambda sizes: sum(each in avoiding for each in sizes))


def _spread(size: int, parts: int, step: int, shift: int) -> tuple[int, ...]:
    """Ascending by `step` around the mean, moved down by `shift`; the last takes what is left."""
    first = size // parts - step * (parts - 1) // 2 - shift
    sizes = [first + step * place for place in range(parts - 1)]
    return (*sizes, size - sum(sizes))
