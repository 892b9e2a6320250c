"""How soon after a kill the next right request is under way."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.lists import CustomerList, write_list
from benchmarks.measure import MeasureError
from benchmarks.rounds import Run, in_turns
from benchmarks.server import Server, constant_server, end
from benchmarks.shape import Figures, Given, Table, Target, note
from benchmarks.tools import ENGINE_ENVIRON, Call, bare_environ, engine, engine_words, xinshi

SAYS = (
    "`kill -9` in the middle of a campaign, then the command again: seconds from its start to the first request that "
    "carries only numbers which were not taken before."
)
_NAME = "bench"
_TOOLS = ("run", "send", "run, reports waiting")
_AFTER_S = 1.0  # how long the resumed one goes on, to see that it repeats nobody


def measure(given: Given) -> Figures:
    """`run` goes on with the campaign by its name; `send` is the same order again, which reads the list once more.

    "reports waiting": the reports of everybody taken so far wait at the gateway, and are read before sending goes on.
    """
    rows, rounds = given.rows_or(1_000_000, 100_000), given.rounds_or(5)
    note(f"writing a list of {rows:,} rows")
    customers = write_list(given.folder / "customers.csv", rows, given.seed)
    runs, failures = in_turns(_TOOLS, rounds, lambda verb: _once(verb, customers, given.limit_s), about="resume, ")
    found = {}
    for verb, each in runs.items():
        seconds = [run["resumed_s"] for run in each]
        found[verb] = {
            "resumed_s": statistics.median(seconds),
            "min_s": min(seconds),
            "max_s": max(seconds),
            "taken_before": statistics.median(run["taken_before"] for run in each),
            "repeated": sum(run["repeated"] for run in each),
        }
    return {"rows": rows, "recipients": customers.recipients, "rounds": rounds, "verbs": found, "failures": failures}


def _once(verb: str, customers: CustomerList, limit_s: float) -> Run:
    with ExitStack() as stack:
        server = stack.enter_context(constant_server(remember=True, reports=verb == _TOOLS[2]))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xinshi-bench-resume-")))
        first = engine(customers.path, server.port, folder)
        first.command.extend(["--campaign", _NAME])
        _kill_in_the_middle(first, server, folder, customers.recipients // 2, limit_s)
        before = int(server.count()["requests"])
        again = first
        if verb != "send":
            words = engine_words(server.port, folder)
            again = Call(command=[xinshi(), "run", _NAME, *words], delivered=int, environ=ENGINE_ENVIRON)
        begin = time.monotonic()
        process = _start(again, folder)
        try:
            _wait_for(server, before + 1, process, limit_s)
            time.sleep(_AFTER_S)
        finally:
            end(process)
        repeats, times = server.repeats()[before:], server.arrivals(before)
        right = next((at for at, repeated in zip(times, repeats, strict=False) if not repeated), None)
        if right is None:
            raise MeasureError("every request after the restart carried a number that was taken before")
        taken = float(server.count()["numbers"])
        return {"resumed_s": right - begin, "taken_before": taken, "repeated": float(sum(repeats))}


def _kill_in_the_middle(call: Call, server: Server, folder: Path, numbers: int, limit_s: float) -> None:
    process = _start(call, folder)
    until = time.monotonic() + limit_s
    try:
        while server.count()["numbers"] < numbers:
            if process.poll() is not None or time.monotonic() > until:
                raise MeasureError(f"the campaign never came to its middle: {_last_words(folder)}")
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()


def _start(call: Call, folder: Path) -> subprocess.Popen[bytes]:
    environ = bare_environ(folder) | dict(call.environ)
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        return subprocess.Popen(
            call.command, env=environ, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
        )


def _wait_for(server: Server, requests: int, process: subprocess.Popen[bytes], limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while server.count()["requests"] < requests:
        if process.poll() is not None or time.monotonic() > until:
            raise MeasureError("nothing was sent after the restart")
        time.sleep(0.02)


def _last_words(folder: Path) -> str:
    words = (folder / "stderr").read_text(errors="replace").strip().splitlines()[-1:]
    return words[0] if words else json.dumps((folder / "stdout").read_text(errors="replace")[-200:])


def tables(figures: Figures) -> list[Table]:
    lines = [["command", "seconds to the first right request", "(min … max)", "requests that repeated a number"]]
    for verb, row in figures["verbs"].items():
        spread = f"({row['min_s']:.2f} … {row['max_s']:.2f})"
        lines.append([f"xinshi {verb}", f"{row['resumed_s']:.2f}", spread, f"{row['repeated']:.0f}"])
    lines += [[f"xinshi {verb}", f"not measured: {why}", "", ""] for verb, why in figures["failures"].items()]
    about = f"{figures['recipients']:,} recipients, killed when half were taken; medians of {figures['rounds']} rounds."
    return [Table(caption=about, lines=lines)]


def targets(figures: Figures) -> list[Target]:
    return [
        Target(
            says=f"resume: kill -9 to the first right request, `xinshi {verb}`",
            limit=2.0,
            came=figures["verbs"].get(verb, {}).get("resumed_s"),
            at_least=False,
            unit="s",
        )
        for verb in _TOOLS
    ]


def plots(figures: Figures) -> dict[str, str]:
    return {}
