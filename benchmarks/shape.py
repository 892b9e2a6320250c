"""What a benchmark is: it measures once, and everything shown later is made of the figures it wrote down."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Figures = dict[str, Any]
"""What was measured, as JSON can hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """How large a run is. `rows` and `rounds` None: as the benchmark thinks right, or less of it when `small`."""

    folder: Path
    rows: int | None = None
    rounds: int | None = None
    small: bool = False
    seed: int = 1
    limit_s: float = 600.0

    def rows_or(self, usual: int, small: int) -> int:
        return self.rows or (small if self.small else usual)

    def rounds_or(self, usual: int) -> int:
        return self.rounds or (1 if self.small else usual)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A caption, and lines of which the first is the head."""

    caption: str
    lines: list[list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What was promised, what came, and whether that is enough. `came` None: it was not measured."""

    says: str
    limit: float
    came: float | None
    at_least: bool = True
    unit: str = "×"

    @property
    def verdict(self) -> str:
        if self.came is None:
            return "not measured"
        met = self.came >= self.limit if self.at_least else self.came <= self.limit
        return "met" if met else "MISSED"

    @property
    def promised(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {_figure(self.limit)} {self.unit}"

    @property
    def measured(self) -> str:
        return "–" if self.came is None else f"{_figure(self.came)} {self.unit}"


class Benchmark(Protocol):
    """A module in benchmarks/suite."""

    SAYS: str
    """What it measures, in one sentence of Markdown."""

    def measure(self, given: Given) -> Figures: ...
    def tables(self, figures: Figures) -> list[Table]: ...
    def targets(self, figures: Figures) -> list[Target]: ...
    def plots(self, figures: Figures) -> Mapping[str, str]:
        """File names and the SVG texts that belong into them."""
        ...


def note(sentence: str) -> None:
    """Say what goes on, apart from the results."""
    print(sentence, file=sys.stderr, flush=True)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
