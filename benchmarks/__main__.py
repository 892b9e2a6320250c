"""python -m benchmarks [NAME…]: measure, print, and write the figures down. `report` makes the README and the plots of them."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.machine import describe_machine
from benchmarks.measure import MeasureError
from benchmarks.shape import Given, note
from benchmarks.suite import SUITE

_REPORT = "report"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(SUITE)} (default all), or {_REPORT}")
    parser.add_argument("--rows", type=int, help="rows of the customer list, in place of each benchmark's own")
    parser.add_argument("--rounds", type=int, help="turns, in place of each benchmark's own number")
    parser.add_argument("--small", action="store_true", help="little and once, to try it: no figure to rely on")
    parser.add_argument("--seed", type=int, default=1, help="of the list (default 1)")
    parser.add_argument("--limit-s", type=float, default=600, help="seconds one run of one tool may take (default 600)")
    parser.add_argument(
        "--results",
        type=Path,
        help="folder for the JSON (default benchmarks/results; with --small nothing is written unless this is given)",
    )
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in (*SUITE, _REPORT)]:
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join((*SUITE, _REPORT))}")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 when a benchmark could not be measured. A missed target is printed, and no failure."""
    given = parse(arguments)
    names = [name for name in given.names if name != _REPORT] or ([] if _REPORT in given.names else list(SUITE))
    results = given.results or (None if given.small else report.RESULTS)
    machine = describe_machine()
    if names:
        print(report.machine_lines(machine), flush=True)
    failed = 0
    for name in names:
        if not _measure(name, given, results):
            failed += 1
    if _REPORT in given.names or (names and results == report.RESULTS):
        found = report.write_report(given.results or report.RESULTS)
        note(f"{report.README} and {report.PLOTS}: {', '.join(found) or 'nothing measured yet'}")
    return bool(failed)


def _measure(name: str, given: argparse.Namespace, results: Path | None) -> bool:
    with tempfile.TemporaryDirectory(prefix="xinshi-bench-") as place:
        machine = describe_machine()  # again, because the load before it belongs to this one
        try:
            figures = SUITE[name].measure(
                Given(
                    folder=Path(place),
                    rows=given.rows,
                    rounds=given.rounds,
                    small=given.small,
                    seed=given.seed,
                    limit_s=given.limit_s,
                )
            )
        except MeasureError as exc:
            print(f"\n## {name}\n\nnot measured: {exc}", flush=True)
            return False
    result = {"benchmark": name, "command": _command(name, given), "machine": machine, "figures": figures}
    print(f"\n{report.page(name, result)}", flush=True)
    if results is not None:
        note(f"written: {report.write_result(results, name, result)}")
    return True


def _command(name: str, given: argparse.Namespace) -> str:
    words = ["python", "-m", "benchmarks", name]
    words += [f"--rows={given.rows}"] * bool(given.rows) + [f"--rounds={given.rounds}"] * bool(given.rounds)
    words += ["--small"] * given.small + [f"--seed={given.seed}"] * (given.seed != 1)
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(main())
