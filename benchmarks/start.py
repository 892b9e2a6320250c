"""How long a person waits for `xinshi --help`, beside Python's own start."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from benchmarks.measure import run_measured
from benchmarks.tools import bare_environ, xinshi

_TIMES = 11
_LIMIT_S = 20.0


def measure_start(folder: Path) -> dict[str, float]:
    """Give the median wall seconds of each. Raises MeasureError when a command fails."""
    commands = {"python -c pass": [sys.executable, "-c", "pass"], "xinshi --help": [xinshi(), "--help"]}
    walls: dict[str, list[float]] = {name: [] for name in commands}
    for time in range(_TIMES + 1):
        for name, command in commands.items():
            cost = run_measured(command, environ=bare_environ(folder), folder=folder, limit_s=_LIMIT_S)
            if time:  # the first one reads the files from disk
                walls[name].append(cost.wall_s)
    return {name: statistics.median(found) for name, found in walls.items()}
