"""Several tools in turns, so that a slow minute of the machine hits all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks.measure import MeasureError
from benchmarks.shape import Figures, note

Run = dict[str, float]


def in_turns(
    names: Sequence[str], rounds: int, once: Callable[[str], Run], *, about: str = ""
) -> tuple[dict[str, list[Run]], dict[str, str]]:
    """Run each once a round. Gives the runs of each, and why some could not be measured: such a tool is not run again."""
    runs: dict[str, list[Run]] = {name: [] for name in names}
    failures: dict[str, str] = {}
    for turn in range(rounds):
        for name in names:
            if name in failures:
                continue
            note(f"{about}round {turn + 1} of {rounds}: {name}")
            try:
                runs[name].append(once(name))
            except (MeasureError, ValueError, KeyError, IndexError, OSError) as exc:
                failures[name] = f"{exc}" if isinstance(exc, MeasureError) else f"its answer is not read: {exc!r}"
                note(f"{name}: {failures[name]}")
    return {name: found for name, found in runs.items() if found and name not in failures}, failures


def medians(runs: Mapping[str, Sequence[Run]]) -> dict[str, Run]:
    """Of every figure of every tool; of `wall_s` also the smallest and the largest."""
    found: dict[str, Run] = {}
    for name, each in runs.items():
        row = {key: statistics.median(run[key] for run in each) for key in each[0]}
        if "wall_s" in row:
            walls = [run["wall_s"] for run in each]
            row |= {"wall_min_s": min(walls), "wall_max_s": max(walls)}
        found[name] = row
    return found


def ratios(over: Sequence[Run], under: Sequence[Run], key: str = "wall_s") -> Figures:
    """`over` divided by `under`, round by round: median, smallest, largest."""
    each = [above[key] / below[key] for above, below in zip(over, under, strict=False)]
    return {"median": statistics.median(each), "min": min(each), "max": max(each)}
