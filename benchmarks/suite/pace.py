"""Whether the pace is kept, and used, at the gateway's clock."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import floor, svg
from benchmarks.arrivals import sustained_rate, worst_window
from benchmarks.lists import write_list
from benchmarks.rounds import Run, in_turns
from benchmarks.server import Server, constant_server
from benchmarks.shape import Figures, Given, Table, Target
from benchmarks.tools import TEXT, Settings, engine, run_tool, script

SAYS = "A limit of requests a second: how much of it is used, and the fullest second at the server's clock."
LIMITS = (1, 2, 5, 10, 50, 100, 500, 1_000, 2_000, 5_000)
_SMALL = (2, 50, 1_000)
_TOOLS = ("engine", "async_limiter")
_LATENCY_MS = 10.0
_SECONDS = 10.0


def measure(given: Given) -> Figures:
    """One number a request, answers after 10 ms, half as many again in flight as that needs."""
    rounds = given.rounds_or(1)
    found: Figures = {}
    with constant_server(delay_ms=_LATENCY_MS) as server:
        for limit in _SMALL if given.small else LIMITS:
            rows = given.rows or max(round(limit * (4.0 if given.small else _SECONDS)), 12 if given.small else 30)
            bench = _Bench(server, given, limit, rows)
            runs, failures = in_turns(_TOOLS, rounds, bench.run, about=f"pace, {limit} a second, ")
            found[str(limit)] = {
                # Of several rounds the worst counts: a law holds always.
                "tools": {
                    name: {"use": min(run["use"] for run in each), "worst": max(run["worst"] for run in each)}
                    for name, each in runs.items()
                },
                "failures": failures,
            }
    return {"rounds": rounds, "latency_ms": _LATENCY_MS, "limits": found}


class _Bench:
    def __init__(self, server: Server, given: Given, limit: int, rows: int) -> None:
        self._server, self._limit, self._limit_s = server, limit, given.limit_s
        self._in_flight = max(16, round(limit * _LATENCY_MS / 1000 * 1.5))
        self._customers = write_list(given.folder / "customers.csv", rows, given.seed)
        self._bodies = given.folder / "bodies"
        floor.write_bodies(self._customers.path, self._bodies, TEXT, 1, given.folder)

    def run(self, name: str) -> Run:
        before = int(self._server.count()["requests"])
        with tempfile.TemporaryDirectory(prefix="xinshi-bench-pace-") as place:
            folder = Path(place)
            if name == "engine":
                settings = Settings(batch=1, distinct=False, in_flight=self._in_flight, per_second=self._limit)
                call = engine(self._customers.path, self._server.port, folder, settings)
            else:
                call = script("bare_pool.py", self._bodies, self._server.url, self._in_flight, self._limit)
            run_tool(call, self._server, folder, recipients=self._customers.recipients, limit_s=self._limit_s)
        times = self._server.arrivals(before)
        return {"use": sustained_rate(times, wave=self._limit) / self._limit, "worst": float(worst_window(times))}


def tables(figures: Figures) -> list[Table]:
    lines = [["limit/s", "engine: use", "fullest second", "AsyncLimiter(R, 1): use", "fullest second"]]
    for limit, each in figures["limits"].items():
        cells = []
        for name in _TOOLS:
            row = each["tools"].get(name)
            cells += [f"{row['use']:.1%}", f"{row['worst']:,.0f}"] if row else ["not measured", "–"]
        lines.append([f"{int(limit):,}", *cells])
    about = f"One number a request, answers after {figures['latency_ms']:g} ms. The use is counted from one second on."
    return [Table(caption=about, lines=lines)]


def targets(figures: Figures) -> list[Target]:
    engine_at = {
        int(limit): each["tools"]["engine"] for limit, each in figures["limits"].items() if "engine" in each["tools"]
    }
    return [
        Target(
            says="pace: the fullest second, over its limit, at the worst limit",
            limit=1.0,
            came=max((row["worst"] / limit for limit, row in engine_at.items()), default=None),
            at_least=False,
        ),
        Target(
            says="pace: use, at the worst limit",
            limit=0.97,
            came=min((row["use"] for row in engine_at.values()), default=None),
            unit="",
        ),
    ]


def plots(figures: Figures) -> dict[str, str]:
    drawn = []
    for name, words in zip(_TOOLS, ("engine", "AsyncLimiter"), strict=True):
        rows = [
            (float(limit), each["tools"][name]) for limit, each in figures["limits"].items() if name in each["tools"]
        ]
        if rows:
            worst = [(limit, row["worst"] / limit * 100) for limit, row in rows]
            drawn.append(svg.Series(name=f"{words}: fullest second", points=worst))
            drawn.append(svg.Series(name=f"{words}: use", points=[(limit, row["use"] * 100) for limit, row in rows]))
    x, y = svg.Axis(label="limit, requests a second", log=True), svg.Axis(label="% of the limit", low=0)
    return {"pace.svg": svg.lines("The pace at the server's clock", x, y, drawn, limit=(100.0, "the limit"))}
