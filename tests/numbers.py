"""Mobile numbers for tests. None is written down anywhere: they are computed, and nobody is ever called."""

from __future__ import annotations

import random

_PREFIXES = range(130, 200)  # every 1[3-9]x
_SUBSCRIBERS = 10**8
_STEP = 2_654_435_761  # a prime, so walking by it visits every number once; neighbours in the list lie far apart


def mobiles(n: int, seed: int = 1) -> list[str]:
    """Give n distinct valid mainland mobiles, 11 ASCII digits each, in no order.

    The same seed gives the same numbers, and a longer list begins with the shorter one.
    """
    count = len(_PREFIXES) * _SUBSCRIBERS
    start = random.Random(seed).randrange(count)
    return [_mobile((start + index * _STEP) % count) for index in range(n)]


def mobile(seed: int = 1) -> str:
    """Give one valid mobile."""
    return mobiles(1, seed)[0]


def _mobile(position: int) -> str:
    return f"{_PREFIXES[position // _SUBSCRIBERS]}{position % _SUBSCRIBERS:08d}"
