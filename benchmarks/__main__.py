"""python -m benchmarks: every tool sends the same list to the same constant server, in turns."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.lists import CustomerList, write_list
from benchmarks.machine import describe_machine
from benchmarks.measure import MeasureError, run_measured
from benchmarks.start import measure_start
from benchmarks.tools import TOOLS, bare_environ

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One tool's run: its own cost, the server's processor seconds beside it, and the requests it took."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    server_cpu_s: float
    requests: int


class Server:
    """The constant server and what it has counted."""

    def __init__(self, port: int) -> None:
        self.port = port

    def count(self) -> dict[str, float]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/_count")
            counted: dict[str, float] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return counted


@contextmanager
def constant_server() -> Iterator[Server]:
    """Run one server for everybody, in a process of its own; it ends with the measurement."""
    command = [sys.executable, "-m", "benchmarks.constant_server"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stdout
        yield Server(json.loads(process.stdout.readline())["port"])
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_once(name: str, customers: CustomerList, server: Server, limit_s: float) -> Run:
    """Let one tool send the whole list. Raises MeasureError when it fails or a recipient is missing or doubled."""
    with tempfile.TemporaryDirectory(prefix=f"xinshi-bench-{name}-") as place:
        folder = Path(place)
        call = TOOLS[name](customers.path, server.port, folder)
        before = server.count()
        cost = run_measured(
            call.command, environ=bare_environ(folder) | dict(call.environ), folder=folder, limit_s=limit_s
        )
        after = server.count()
    arrived, said = int(after["numbers"] - before["numbers"]), call.delivered(cost.output)
    if not arrived == said == customers.recipients:
        raise MeasureError(f"{customers.recipients:,} recipients, {said:,} delivered by its word, {arrived:,} arrived")
    return Run(
        wall_s=cost.wall_s,
        cpu_s=cost.cpu_s,
        peak_rss_mb=cost.peak_rss_mb,
        server_cpu_s=after["cpu_s"] - before["cpu_s"],
        requests=int(after["requests"] - before["requests"]),
    )


def run_rounds(
    names: Sequence[str], customers: CustomerList, rounds: int, limit_s: float
) -> tuple[dict[str, list[Run]], dict[str, str]]:
    """Run the tools in turns, so that a slow minute of the machine hits all. One that fails is not run again."""
    runs: dict[str, list[Run]] = {name: [] for name in names}
    failures: dict[str, str] = {}
    with constant_server() as server:
        for turn in range(rounds):
            for name in names:
                if name in failures:
                    continue
                note(f"round {turn + 1} of {rounds}: {name}")
                try:
                    runs[name].append(run_once(name, customers, server, limit_s))
                except (MeasureError, ValueError, KeyError, IndexError) as exc:
                    failures[name] = f"{exc}" if isinstance(exc, MeasureError) else f"its answer is not read: {exc!r}"
    return runs, failures


def summarise(runs: dict[str, list[Run]], recipients: int) -> dict[str, dict[str, float]]:
    """Medians over the rounds, and how each tool compares with the first."""
    rows: dict[str, dict[str, float]] = {}
    for name, found in runs.items():
        if not found:
            continue
        row = {key: statistics.median(asdict(run)[key] for run in found) for key in asdict(found[0])}
        row["wall_min_s"], row["wall_max_s"] = min(run.wall_s for run in found), max(run.wall_s for run in found)
        row["recipients_per_s"] = recipients / row["wall_s"]
        rows[name] = row
    for row in rows.values():
        first = next(iter(rows.values()))
        row["wall_ratio"], row["cpu_ratio"] = row["wall_s"] / first["wall_s"], row["cpu_s"] / first["cpu_s"]
    return rows


def table(rows: dict[str, dict[str, float]]) -> str:
    head = (
        "tool",
        "wall s",
        "(min … max)",
        "CPU s",
        "peak RSS MB",
        "recipients/s",
        "requests",
        "server CPU s",
        "× wall",
        "× CPU",
    )
    lines = [head]
    for name, row in rows.items():
        lines.append(
            (
                name,
                f"{row['wall_s']:.2f}",
                f"({row['wall_min_s']:.2f} … {row['wall_max_s']:.2f})",
                f"{row['cpu_s']:.2f}",
                f"{row['peak_rss_mb']:.0f}",
                f"{row['recipients_per_s']:,.0f}",
                f"{row['requests']:,.0f}",
                f"{row['server_cpu_s']:.2f}",
                f"{row['wall_ratio']:.2f}",
                f"{row['cpu_ratio']:.2f}",
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def note(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the customer list (default 1000000)")
    parser.add_argument("--rounds", type=int, default=3, help="turns; medians are shown (default 3)")
    parser.add_argument("--seed", type=int, default=1, help="of the list (default 1)")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS), help="whom to measure (default all)")
    parser.add_argument("--limit-s", type=float, default=300, help="seconds a run may take (default 300)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the table")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Returns 1 when a tool could not be measured."""
    given = parse(arguments)
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="xinshi-bench-") as place:
        note(f"writing a list of {given.rows:,} rows")
        customers = write_list(Path(place) / "customers.csv", given.rows, given.seed)
        runs, failures = run_rounds(given.tools, customers, given.rounds, given.limit_s)
        try:
            start = measure_start(Path(place)) if "engine" in given.tools else {}
        except MeasureError as exc:
            start = {}
            failures["xinshi --help"] = str(exc)
    rows = summarise(runs, customers.recipients)
    measured = {"rows": customers.rows, "recipients": customers.recipients, "list_mb": customers.size_bytes / 1e6}
    if given.json:
        print(json.dumps({"machine": machine, "list": measured, "tools": rows, "start_s": start, "failures": failures}))
        return bool(failures)
    print("\n".join(f"{name + ':':<12} {value}" for name, value in machine.items()))
    print(
        f"{'list:':<12} {customers.rows:,} rows, {customers.recipients:,} recipients, {measured['list_mb']:.0f} MB GB18030"
    )
    print(f"{'rounds:':<12} {given.rounds}, in turns, medians\n")
    print(table(rows))
    for name, seconds in start.items():
        print(f"\n{name}: {seconds * 1000:.0f} ms", end="")
    for name, problem in failures.items():
        print(f"\n{name}: not measured: {problem}", end="")
    print()
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
