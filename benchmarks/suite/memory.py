"""How memory and time grow with the list."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path

from benchmarks import svg
from benchmarks.fit import exponent
from benchmarks.lists import write_list
from benchmarks.rounds import Run, in_turns
from benchmarks.server import constant_server
from benchmarks.shape import Figures, Given, Table, Target, note
from benchmarks.tools import Settings, engine, run_tool

SAYS = "Peak memory and time of a whole send against the size of the list, and the exponents of both."
SIZES = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
_SMALL = (10_000, 30_000, 100_000)
_FIXED = 100  # a list that costs nothing but the start
_BYTES_A_ROW = 200  # list, journal, rejects and the journal's log, generously


def measure(given: Given) -> Figures:
    """One send for each size; several rounds, medians. A size that the disk does not hold is left out, and said."""
    sizes = [given.rows // 100, given.rows // 10, given.rows] if given.rows else _SMALL if given.small else SIZES
    free = shutil.disk_usage(tempfile.gettempdir()).free
    rounds = given.rounds_or(1)
    found: Figures = {}
    failures: Figures = {}
    with constant_server() as server:
        for size in (_FIXED, *sizes):
            if size * _BYTES_A_ROW > free:
                failures[str(size)] = f"not enough disk: {free / 1e9:.0f} GB are free"
                continue
            note(f"writing a list of {size:,} rows")
            customers = write_list(given.folder / "customers.csv", size, given.seed)

            def once(_: str) -> Run:
                with tempfile.TemporaryDirectory(prefix="xinshi-bench-memory-") as place:
                    call = engine(customers.path, server.port, Path(place), Settings())  # noqa: B023
                    return run_tool(
                        call,
                        server,
                        Path(place),
                        recipients=customers.recipients,  # noqa: B023
                        limit_s=given.limit_s,
                        watch_memory=True,
                    )

            runs, failed = in_turns(["engine"], rounds, once, about=f"memory, {size:,} rows, ")
            failures |= {str(size): why for why in failed.values()}
            for each in runs.values():
                found[str(size)] = {key: statistics.median(run[key] for run in each) for key in each[0]}
    fixed_s = found.pop(str(_FIXED), {}).get("wall_s", 0.0)
    return {"rounds": rounds, "fixed_s": fixed_s, "sizes": found, "failures": failures, **_growth(found, fixed_s)}


def _growth(found: Figures, fixed_s: float) -> Figures:
    if len(found) < 2:
        return {"exponents": {}}
    sizes, rows = [float(size) for size in found], list(found.values())
    return {
        "exponents": {
            "time": exponent(sizes, [row["wall_s"] for row in rows]),
            "time, less the start": exponent(sizes, [max(row["wall_s"] - fixed_s, 0.01) for row in rows]),
            "memory of the largest process": exponent(sizes, [row["peak_rss_mb"] for row in rows]),
            "memory of all": exponent(sizes, [row["peak_sum_mb"] for row in rows]),
        }
    }


def tables(figures: Figures) -> list[Table]:
    lines = [["rows", "wall s", "CPU s", "peak RSS of the largest process MB", "of all at one moment MB", "requests"]]
    for size, row in figures["sizes"].items():
        cells = [
            f"{row['wall_s']:.2f}",
            f"{row['cpu_s']:.2f}",
            f"{row['peak_rss_mb']:.0f}",
            f"{row['peak_sum_mb']:.0f}",
        ]
        lines.append([f"{int(size):,}", *cells, f"{row['requests']:,.0f}"])
    lines += [[f"{int(size):,}", f"not measured: {why}", *[""] * 4] for size, why in figures["failures"].items()]
    about = f"Medians of {figures['rounds']} rounds. A list of {_FIXED} rows takes {figures['fixed_s']:.2f} s: that is the start."
    grown = [["grows with the size to the power of", "exponent"]]
    grown += [[name, f"{value:.3f}"] for name, value in figures["exponents"].items()]
    return [Table(caption=about, lines=lines), Table(caption="Fitted by least squares on logarithms:", lines=grown)]


def targets(figures: Figures) -> list[Target]:
    ten, one = figures["sizes"].get("10000000"), figures["sizes"].get("1000000")
    grown = figures["exponents"]
    return [
        Target(
            says="memory: largest process, 10 M rows over 1 M rows",
            limit=1.5,
            came=ten["peak_rss_mb"] / one["peak_rss_mb"] if ten and one else None,
            at_least=False,
        ),
        Target(
            says="memory: all processes at 10 M rows",
            limit=300,
            came=ten["peak_sum_mb"] if ten else None,
            at_least=False,
            unit="MB",
        ),
        *(
            Target(says=f"growth: exponent of the {name}", limit=1.05, came=grown.get(name), at_least=False, unit="")
            for name in ("time, less the start", "memory of all")
        ),
    ]


def plots(figures: Figures) -> dict[str, str]:
    rows = [(float(size), row) for size, row in figures["sizes"].items()]
    if len(rows) < 2:
        return {}
    x = svg.Axis(label="rows of the list", log=True)
    memory = [
        svg.Series(name=name, points=[(size, row[key]) for size, row in rows])
        for name, key in (("largest process", "peak_rss_mb"), ("all processes", "peak_sum_mb"))
    ]
    walls = [svg.Series(name="from start to end", points=[(size, row["wall_s"]) for size, row in rows])]
    return {
        "memory.svg": svg.lines(
            "Peak memory of a send", x, svg.Axis(label="MB", low=0), memory, limit=(300.0, "300 MB")
        ),
        "growth.svg": svg.lines("Time of a send", x, svg.Axis(label="seconds", log=True), walls),
    }
