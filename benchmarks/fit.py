"""How something grows: the exponent of a power law, by least squares on logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """k of values ≈ c · sizes^k. Raises ValueError with fewer than two different sizes, or what has no logarithm."""
    xs, ys = [math.log(size) for size in sizes], [math.log(value) for value in values]
    if len(xs) != len(ys) or len(set(xs)) < 2:
        raise ValueError("an exponent needs values at two sizes or more")
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    return sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
