"""A million rows, from the file to the last acceptance, against what teams run instead."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks import floor, svg
from benchmarks.lists import CustomerList, write_list
from benchmarks.rounds import Run, in_turns, medians, ratios
from benchmarks.server import Server, constant_server
from benchmarks.shape import Figures, Given, Table, Target, note
from benchmarks.tools import TEXT, Settings, celery_services, engine, run_tool, script

SAYS = "A customer list, from the start of the program to the last acceptance, and what other ways to do it take."
SIZES = (100, 1_000)
_TOOLS = ("engine", "engine_equal", "thirty_lines", "requests_threads", "celery", "floor")


def measure(given: Given) -> Figures:
    """Every tool sends the same list to the same server."""
    folder = given.folder
    rows, rounds = given.rows_or(1_000_000, 50_000), given.rounds_or(3)
    note(f"writing a list of {rows:,} rows")
    customers = write_list(folder / "customers.csv", rows, given.seed)
    sizes: Figures = {}
    with constant_server() as server:
        for size in SIZES:
            bodies = folder / f"bodies-{size}"
            floor.write_bodies(customers.path, bodies, TEXT, size, folder)
            tools = _Tools(customers, server, size, bodies, given.limit_s)
            runs, failures = in_turns(_TOOLS, rounds, tools.run, about=f"bulk, batch {size}, ")
            sizes[str(size)] = {
                "tools": medians(runs),
                "failures": failures,
                "ratios": {
                    ours: {name: ratios(runs[name], runs[ours]) for name in _TOOLS[2:] if name in runs}
                    for ours in _TOOLS[:2]
                    if ours in runs
                },
            }
    return {
        "rows": rows,
        "recipients": customers.recipients,
        "list_mb": customers.size_bytes / 1e6,
        "rounds": rounds,
        "floor_client": floor.client(),
        "sizes": sizes,
    }


class _Tools:
    """Runs each tool by its name, each time in a new folder."""

    def __init__(self, customers: CustomerList, server: Server, size: int, bodies: Path, limit_s: float) -> None:
        self._customers, self._server, self._size, self._bodies = customers, server, size, bodies
        self._limit_s = limit_s

    def run(self, name: str) -> Run:
        customers, server = self._customers, self._server
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"xinshi-bench-{name}-")))
            words = (customers.path, server.url, TEXT, self._size)
            match name:
                case "floor":
                    return floor.run_floor(
                        customers.path, self._bodies, server, folder, recipients=customers.recipients
                    )
                case "engine" | "engine_equal":
                    settings = Settings(batch=self._size, distinct=name == "engine")
                    call = engine(customers.path, server.port, folder, settings)
                case "celery":
                    call = stack.enter_context(celery_services(folder))(*words)
                case _:
                    call = script(f"{name}.py", *words)
            return run_tool(call, server, folder, recipients=customers.recipients, limit_s=self._limit_s)


def tables(figures: Figures) -> list[Table]:
    return [table for size in figures["sizes"] for table in _of_size(figures, size)]


def _of_size(figures: Figures, size: str) -> list[Table]:
    found = figures["sizes"][size]
    lines = [["tool", "wall s", "(min … max)", "CPU s", "peak RSS MB", "recipients/s", "requests", "server CPU s"]]
    for name, row in found["tools"].items():
        cpu = [f"{row[key]:{form}}" if key in row else "–" for key, form in (("cpu_s", ".2f"), ("peak_rss_mb", ".0f"))]
        server_s = f"{row['server_cpu_s']:.2f}" if "server_cpu_s" in row else "–"
        spread = f"({row['wall_min_s']:.2f} … {row['wall_max_s']:.2f})"
        rate = f"{figures['recipients'] / row['wall_s']:,.0f}"
        lines.append([name, f"{row['wall_s']:.2f}", spread, *cpu, rate, f"{row['requests']:,.0f}", server_s])
    lines += [[name, f"not measured: {why}", *[""] * 6] for name, why in found["failures"].items()]
    about = f"Batches of {size}: {figures['rows']:,} rows, {figures['recipients']:,} recipients"
    about += f", {figures['list_mb']:.0f} MB GB18030. Medians of {figures['rounds']} rounds, in turns."
    parts = found["tools"].get("floor")
    if parts:
        about += (
            f" The floor: decoding {parts['decode_s']:.2f} s, posting by {figures['floor_client']} {parts['post_s']:.2f} s,"
            f" one transaction {parts['write_s']:.2f} s."
        )
    heads = [["the time of … divided by the engine's", "engine", "engine_equal"]]
    for name in _TOOLS[2:]:
        if any(name in each for each in found["ratios"].values()):
            heads.append([name, *(_spread(found["ratios"].get(ours, {}).get(name)) for ours in _TOOLS[:2])])
    tools = found["tools"]
    compared = "Compared within each round: median (min … max)."
    if "engine" in tools and "engine_equal" in tools:
        cost = tools["engine"]["wall_s"] / tools["engine_equal"]["wall_s"] - 1
        more = tools["engine"]["requests"] / tools["engine_equal"]["requests"] - 1
        compared += f" Sizes that differ cost {cost:+.1%} of the time with {more:+.1%} requests."
    return [Table(caption=about, lines=lines), Table(caption=compared, lines=heads)]


def _spread(ratio: Mapping[str, float] | None) -> str:
    return "–" if ratio is None else f"{ratio['median']:.2f} ({ratio['min']:.2f} … {ratio['max']:.2f})"


def targets(figures: Figures) -> list[Target]:
    found = figures["sizes"]["100"]["ratios"].get("engine_equal", {})

    def came(name: str) -> float | None:
        return found[name]["median"] if name in found else None

    floored = came("floor")
    return [
        Target(says="batch 100, equal sizes: as fast as thirty_lines, times", limit=1.2, came=came("thirty_lines")),
        Target(says="… as fast as requests_threads, times", limit=4, came=came("requests_threads")),
        Target(says="… as fast as celery, times", limit=4, came=came("celery")),
        Target(
            says="… time of the floor, times", limit=6, came=None if floored is None else 1 / floored, at_least=False
        ),
    ]


def plots(figures: Figures) -> dict[str, str]:
    found = {}
    for size, each in figures["sizes"].items():
        drawn = [
            svg.Bar(name=name, value=row["wall_s"], low=row["wall_min_s"], high=row["wall_max_s"], group=_group(name))
            for name, row in each["tools"].items()
        ]
        if drawn:
            title = f"{figures['rows']:,} rows, {size} numbers a request"
            found[f"bulk-{size}.svg"] = svg.bars(title, "seconds from start to end (less is better)", drawn)
    return found


def _group(name: str) -> int:
    return 0 if name.startswith("engine") else 2 if name == "floor" else 1
