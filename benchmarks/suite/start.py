"""How long a person waits for a command that does next to nothing."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.lists import write_list
from benchmarks.measure import run_measured
from benchmarks.rounds import Run, in_turns
from benchmarks.server import constant_server
from benchmarks.shape import Figures, Given, Table, Target, note
from benchmarks.tools import ENGINE_ENVIRON, bare_environ, engine, engine_words, run_tool, xinshi

SAYS = "Wall milliseconds of `xinshi --help` and `xinshi status`, beside Python's own start."


def measure(given: Given) -> Figures:
    """The commands in turns; the first turn reads the files from disk and does not count."""
    rows, rounds = given.rows_or(1_000_000, 20_000), given.rounds_or(11)
    with constant_server() as server, tempfile.TemporaryDirectory(prefix="xinshi-bench-start-") as place:
        folder = Path(place)
        note(f"sending a campaign of {rows:,} rows for status to look at")
        customers = write_list(given.folder / "customers.csv", rows, given.seed)
        call = engine(customers.path, server.port, folder)
        run_tool(call, server, folder, recipients=customers.recipients, limit_s=given.limit_s)
        words = engine_words(server.port, folder)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "xinshi --help": [xinshi(), "--help"],
            "xinshi send --help": [xinshi(), "send", "--help"],
            "xinshi status": [xinshi(), "status", *words],
        }

        def once(name: str) -> Run:
            environ = bare_environ(folder) | ENGINE_ENVIRON
            cost = run_measured(commands[name], environ=environ, folder=folder, limit_s=60)
            return {"wall_s": cost.wall_s}

        runs, failures = in_turns(list(commands), rounds + 1, once, about="start, ")
    found = {}
    for name, each in runs.items():
        walls = [run["wall_s"] for run in each[1:]]
        found[name] = {"wall_s": statistics.median(walls), "min_s": min(walls), "max_s": max(walls)}
    return {"rows": rows, "rounds": rounds, "commands": found, "failures": failures}


def tables(figures: Figures) -> list[Table]:
    lines = [["command", "ms", "(min … max)"]]
    for name, row in figures["commands"].items():
        spread = f"({row['min_s'] * 1000:.0f} … {row['max_s'] * 1000:.0f})"
        lines.append([f"`{name}`", f"{row['wall_s'] * 1000:.0f}", spread])
    lines += [[f"`{name}`", f"not measured: {why}", ""] for name, why in figures["failures"].items()]
    about = (
        f"Medians of {figures['rounds']} rounds, in turns. The journal holds one campaign of {figures['rows']:,} rows."
    )
    return [Table(caption=about, lines=lines)]


def targets(figures: Figures) -> list[Target]:
    came = figures["commands"].get("xinshi --help", {}).get("wall_s")
    return [Target(says="start: `xinshi --help`", limit=0.3, came=came, at_least=False, unit="s")]


def plots(figures: Figures) -> dict[str, str]:
    return {}
