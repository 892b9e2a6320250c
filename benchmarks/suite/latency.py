"""How much of what a slow gateway allows the engine uses."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import floor, svg
from benchmarks.arrivals import middle_rate
from benchmarks.lists import write_list
from benchmarks.rounds import Run, in_turns
from benchmarks.server import Server, constant_server
from benchmarks.shape import Figures, Given, Table, Target
from benchmarks.tools import TEXT, Settings, engine, run_tool, script

SAYS = "Answers that take 50 or 200 ms: requests a second as a share of the ideal, in flight ÷ latency."
LATENCIES_MS = (50, 200)
IN_FLIGHT = (16, 32, 64, 128, 256)
_TOOLS = ("engine", "bare_pool")
_SECONDS = 8.0


def measure(
    given: Given, latencies_ms: Sequence[int] = LATENCIES_MS, all_in_flight: Sequence[int] = IN_FLIGHT
) -> Figures:
    """One number a request. The rate is that of the middle half of the arrivals, at the server's clock."""
    rounds = given.rounds_or(3)
    found: Figures = {}
    for latency_ms in latencies_ms:
        with constant_server(delay_ms=latency_ms) as server:
            for in_flight in all_in_flight:
                rows = given.rows or round(in_flight * 1000 / latency_ms * (3.0 if given.small else _SECONDS))
                about = f"latency, {latency_ms} ms, {in_flight} in flight, "
                bench = _Bench(server, given, latency_ms, in_flight, max(rows, 4 * in_flight))
                runs, failures = in_turns(_TOOLS, rounds, bench.run, about=about)
                found[f"{latency_ms}/{in_flight}"] = {
                    "tools": {name: _spread(each) for name, each in runs.items()},
                    "failures": failures,
                }
    return {"rounds": rounds, "points": found}


class _Bench:
    def __init__(self, server: Server, given: Given, latency_ms: float, in_flight: int, rows: int) -> None:
        self._server, self._limit_s = server, given.limit_s
        self._ideal, self._in_flight = in_flight * 1000 / latency_ms, in_flight
        self._customers = write_list(given.folder / "customers.csv", rows, given.seed)
        self._bodies = given.folder / "bodies"
        floor.write_bodies(self._customers.path, self._bodies, TEXT, 1, given.folder)

    def run(self, name: str) -> Run:
        """`share` of the ideal; `held_s` is what the server's answers really took, its own lateness included."""
        before = self._server.count()
        with tempfile.TemporaryDirectory(prefix="xinshi-bench-latency-") as place:
            folder = Path(place)
            if name == "engine":
                settings = Settings(batch=1, distinct=False, in_flight=self._in_flight)
                call = engine(self._customers.path, self._server.port, folder, settings)
            else:
                call = script("bare_pool.py", self._bodies, self._server.url, self._in_flight)
            run_tool(call, self._server, folder, recipients=self._customers.recipients, limit_s=self._limit_s)
        after = self._server.count()
        rate = middle_rate(self._server.arrivals(int(before["requests"])), wave=self._in_flight)
        held_s = (after["held_s"] - before["held_s"]) / (after["requests"] - before["requests"])
        return {"rate": rate, "share": rate / self._ideal, "held_s": held_s}


def _spread(runs: list[Run]) -> Run:
    shares = [run["share"] for run in runs]
    row = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return {**row, "share_min": min(shares), "share_max": max(shares)}


def tables(figures: Figures) -> list[Table]:
    lines = [["latency ms", "in flight", "ideal/s"]]
    lines[0] += ["engine/s", "share", "(min … max)", "bare_pool/s", "share", "the server really took ms"]
    for point, each in figures["points"].items():
        latency_ms, in_flight = map(int, point.split("/"))
        cells = []
        for name in _TOOLS:
            row = each["tools"].get(name)
            cells += [f"{row['rate']:,.0f}", f"{row['share']:.1%}"] if row else ["not measured", "–"]
            if name == "engine":
                cells.append(f"({row['share_min']:.1%} … {row['share_max']:.1%})" if row else "–")
        held = each["tools"].get("engine", {}).get("held_s")
        cells.append(f"{held * 1000:.1f}" if held else "–")
        lines.append([str(latency_ms), str(in_flight), f"{in_flight * 1000 / latency_ms:,.0f}", *cells])
    about = (
        f"One number a request; medians of {figures['rounds']} rounds, in turns. The ideal counts the nominal latency."
    )
    return [Table(caption=about, lines=lines)]


def targets(figures: Figures) -> list[Target]:
    return [
        Target(
            says=f"latency: share of the ideal, 50 ms, {in_flight} in flight",
            limit=0.95,
            came=figures["points"].get(f"50/{in_flight}", {}).get("tools", {}).get("engine", {}).get("share"),
            unit="",
        )
        for in_flight in IN_FLIGHT
        if in_flight <= 128
    ]


def plots(figures: Figures) -> dict[str, str]:
    drawn = []
    for name in _TOOLS:
        for latency_ms in LATENCIES_MS:
            points = [
                (float(in_flight), row["share"] * 100)
                for in_flight in IN_FLIGHT
                if (row := figures["points"].get(f"{latency_ms}/{in_flight}", {}).get("tools", {}).get(name))
            ]
            if points:
                drawn.append(svg.Series(name=f"{name}, {latency_ms} ms", points=points))
    x = svg.Axis(label="requests in flight", log=True)
    y = svg.Axis(label="share of the ideal rate, %", low=0)
    return {"latency.svg": svg.lines("What a slow gateway allows, used", x, y, drawn, limit=(95.0, "95 %"))}
