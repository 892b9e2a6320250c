"""The benchmarks, one a file. Each has what `Benchmark` in benchmarks/shape.py names."""

from __future__ import annotations

from types import ModuleType

from benchmarks.suite import (
    bulk,
    latency,
    memory,
    pace,
    personal,
    planning,
    radar,
    resume,
    start,
    track,
)

SUITE: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (bulk, personal, latency, pace, memory, resume, track, start, planning, radar)
}
