"""How many delivery reports a second are joined with what was sent."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.lists import CustomerList, write_list
from benchmarks.measure import MeasureError, run_measured
from benchmarks.rounds import Run, in_turns
from benchmarks.server import ROOT, Server, constant_server
from benchmarks.shape import Figures, Given, Table, Target, note
from benchmarks.tools import ENGINE_ENVIRON, Call, Settings, bare_environ, engine, engine_words, run_tool, xinshi

SAYS = "Delivery reports joined a second: by the journal alone, and from the gateway's queue to the last figure."
_NAME = "bench"


def measure(given: Given) -> Figures:
    """A whole campaign is sent, then every report of it is read."""
    rows, rounds = given.rows_or(1_000_000, 50_000), given.rounds_or(3)
    note(f"writing a list of {rows:,} rows")
    customers = write_list(given.folder / "customers.csv", rows, given.seed)
    names = ("track", "joining")
    runs, failures = in_turns(names, rounds, lambda name: _once(name, customers, given.limit_s), about="track, ")
    found = {name: {key: statistics.median(run[key] for run in each) for key in each[0]} for name, each in runs.items()}
    return {"rows": rows, "reports": customers.recipients, "rounds": rounds, "found": found, "failures": failures}


def _once(name: str, customers: CustomerList, limit_s: float) -> Run:
    with constant_server(reports=True) as server, tempfile.TemporaryDirectory(prefix="xinshi-bench-track-") as place:
        folder = Path(place)
        _send(customers, server, folder, limit_s)
        if name == "joining":
            return _join(folder, customers.recipients, limit_s)
        words = engine_words(server.port, folder)
        tracked = _xinshi(["track", "--once", *words], folder, limit_s)
        looked = _xinshi(["status", _NAME, *words], folder, limit_s)
        return {"wall_s": tracked["wall_s"], "look_s": looked["wall_s"], "peak_rss_mb": tracked["peak_rss_mb"]} | {
            "rate": customers.recipients / tracked["wall_s"],
            "delivered": _all_delivered(looked["delivered"], customers.recipients),
        }


def _send(customers: CustomerList, server: Server, folder: Path, limit_s: float) -> None:
    made = engine(customers.path, server.port, folder, Settings(distinct=False, tracking=False))
    call = Call(command=[*made.command, "--campaign", _NAME], delivered=made.delivered, environ=made.environ)
    run_tool(call, server, folder, recipients=customers.recipients, limit_s=limit_s)


def _xinshi(words: list[str], folder: Path, limit_s: float) -> Run:
    cost = run_measured(
        [xinshi(), *words], environ=bare_environ(folder) | ENGINE_ENVIRON, folder=folder, limit_s=limit_s
    )
    found: Run = {"wall_s": cost.wall_s, "peak_rss_mb": cost.peak_rss_mb}
    told = json.loads(cost.output.splitlines()[-1])
    delivery = told.get("delivery") if isinstance(told, dict) else None
    return found | ({"delivered": float(delivery["delivered"])} if delivery else {})


def _join(folder: Path, reports: int, limit_s: float) -> Run:
    """In a process of its own, the journal's own way of joining and of looking, without gateway or XML."""
    shutil.copy(folder / "journal.db", folder / "joined.db")
    command = [sys.executable, "-m", "benchmarks.joining", str(folder / "joined.db"), _NAME]
    environ = bare_environ(folder) | {"PYTHONPATH": str(ROOT)}
    cost = run_measured(command, environ=environ, folder=folder, limit_s=limit_s)
    told: Run = json.loads(cost.output.splitlines()[-1])
    _all_delivered(told["delivered"], reports)
    seconds = told["store_s"] + told["look_s"]
    return {**told, "stored_rate": reports / told["store_s"], "rate": reports / seconds}


def _all_delivered(delivered: float, reports: int) -> float:
    if delivered != reports:
        raise MeasureError(f"{reports:,} reports, and {delivered:,.0f} recipients are delivered")
    return delivered


def tables(figures: Figures) -> list[Table]:
    lines = [["way", "reports/s", "seconds", "of which looking s", "peak RSS MB"]]
    found = figures["found"]
    if row := found.get("joining"):
        seconds = row["store_s"] + row["look_s"]
        cells = [f"{row['rate']:,.0f}", f"{seconds:.2f}", f"{row['look_s']:.2f}", "–"]
        lines.append(["the journal alone: stored, then joined with the attempts", *cells])
        lines.append(["… only stored", f"{row['stored_rate']:,.0f}", f"{row['store_s']:.2f}", "–", "–"])
    if row := found.get("track"):
        cells = [f"{row['rate']:,.0f}", f"{row['wall_s']:.2f}", "–", f"{row['peak_rss_mb']:.0f}"]
        lines.append(["`xinshi track --once`, from its start to its end", *cells])
        lines.append(["`xinshi status` afterwards", "–", f"{row['look_s']:.2f}", "–", "–"])
    lines += [[name, f"not measured: {why}", "", "", ""] for name, why in figures["failures"].items()]
    about = f"{figures['reports']:,} reports, 1,000 a poll; medians of {figures['rounds']} rounds."
    return [Table(caption=about, lines=lines)]


def targets(figures: Figures) -> list[Target]:
    found = figures["found"]
    return [
        Target(
            says="track: reports joined a second, the journal alone",
            limit=50_000,
            came=found.get("joining", {}).get("rate"),
            unit="/s",
        ),
        Target(
            says="track: reports a second, the whole way from HTTP",
            limit=50_000,
            came=found.get("track", {}).get("rate"),
            unit="/s",
        ),
    ]


def plots(figures: Figures) -> dict[str, str]:
    return {}
