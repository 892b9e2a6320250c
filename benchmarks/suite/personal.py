"""A text for each customer, so a request for each."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import quote

from benchmarks import floor, svg
from benchmarks.arrivals import middle_rate
from benchmarks.lists import HEADER, CustomerList, write_list
from benchmarks.measure import MeasureError
from benchmarks.rounds import Run, in_turns, medians, ratios
from benchmarks.server import Server, constant_server
from benchmarks.shape import Figures, Given, Table, Target
from benchmarks.tools import TEXT, Settings, engine, run_tool, script

SAYS = "A text for each customer, one request each."
# With the customer's number in it, so that no two texts are the same.
TEMPLATE = "【信使】{姓名}您好，您（{客户编号}）在{城市}的会员等级是{会员等级}。拒收请回复R"
IN_FLIGHT = 128
_TOOLS = ("engine", "engine_one_text", "personal_lines", "personal_threads", "bare_pool")


def measure(given: Given) -> Figures:
    """The same rows by everybody; the rate is that of the middle half, at the server."""
    folder = given.folder
    rows, rounds = given.rows_or(100_000, 5_000), given.rounds_or(3)
    customers = write_list(folder / "customers.csv", rows, given.seed)
    bodies = folder / "bodies"
    floor.write_bodies(customers.path, bodies, TEMPLATE, 1, folder)
    with constant_server() as server:
        _refuse_unfilled(folder, server)
        runs, failures = in_turns(
            _TOOLS,
            rounds,
            lambda name: _run(name, customers, bodies, server, given.limit_s),
            about="personal, ",
        )
    ours = [name for name in _TOOLS[:2] if name in runs]
    others = [name for name in _TOOLS[2:] if name in runs]
    return {
        "rows": rows,
        "recipients": customers.recipients,
        "rounds": rounds,
        "in_flight": IN_FLIGHT,
        "tools": medians(runs),
        "failures": failures,
        "faster": {name: {other: ratios(runs[other], runs[name]) for other in others} for name in ours},
        "rate": {name: {other: ratios(runs[name], runs[other], "rate") for other in others} for name in ours},
    }


def _refuse_unfilled(folder: Path, server: Server) -> None:
    """Send two rows, and look whether the gateway got the name or the braces. Raises MeasureError."""
    two = folder / "two.csv"
    row = "C1,王芳,{},北京,金卡,1.00"
    mobiles = [f"13{digit}{digit:08d}" for digit in (5, 6)]
    two.write_text("\n".join([HEADER, *map(row.format, mobiles)]), encoding="gb18030")
    with tempfile.TemporaryDirectory(prefix="xinshi-bench-try-") as place:
        call = engine(two, server.port, Path(place), Settings(batch=1), text=TEMPLATE)
        run_tool(call, server, Path(place), recipients=2, limit_s=30)
    last = server.last().upper()
    if quote("王芳").encode() not in last or b"%7B" in last:
        raise MeasureError("the engine's texts are not filled in")


def _run(name: str, customers: CustomerList, bodies: Path, server: Server, limit_s: float) -> Run:
    settings = Settings(batch=1, distinct=False, in_flight=IN_FLIGHT)
    with tempfile.TemporaryDirectory(prefix=f"xinshi-bench-{name}-") as place:
        folder = Path(place)
        match name:
            case "engine":
                call = engine(customers.path, server.port, folder, settings, text=TEMPLATE)
            case "engine_one_text":
                call = engine(customers.path, server.port, folder, settings, text=TEXT)
            case "bare_pool":
                call = script("bare_pool.py", bodies, server.url, IN_FLIGHT)
            case "personal_threads":
                call = script("personal_threads.py", customers.path, server.url, TEMPLATE, 32)
            case _:
                call = script(f"{name}.py", customers.path, server.url, TEMPLATE, IN_FLIGHT)
        before = int(server.count()["requests"])
        run = run_tool(call, server, folder, recipients=customers.recipients, limit_s=limit_s)
    return {**run, "rate": middle_rate(server.arrivals(before))}


def tables(figures: Figures) -> list[Table]:
    lines = [["tool", "wall s", "(min … max)", "requests/s, middle half", "CPU s", "peak RSS MB"]]
    for name, row in figures["tools"].items():
        spread = f"({row['wall_min_s']:.2f} … {row['wall_max_s']:.2f})"
        rest = [f"{row['rate']:,.0f}", f"{row['cpu_s']:.2f}", f"{row['peak_rss_mb']:.0f}"]
        lines.append([name, f"{row['wall_s']:.2f}", spread, *rest])
    lines += [[name, f"not measured: {why}", *[""] * 4] for name, why in figures["failures"].items()]
    about = (
        f"{figures['recipients']:,} requests of one number, {figures['in_flight']} in flight (personal_threads: 32)."
    )
    about += f" Medians of {figures['rounds']} rounds, in turns. engine_one_text sends the same text to each."
    compared = [["compared with", *(f"{name}: time of … / its own" for name in figures["faster"])]]
    compared[0] += [f"{name}: its rate / of …" for name in figures["rate"]]
    others = sorted({other for each in figures["faster"].values() for other in each})
    for other in others:
        cells = [each[other] for part in (figures["faster"], figures["rate"]) for each in part.values()]
        compared.append([other, *(f"{cell['median']:.2f} ({cell['min']:.2f} … {cell['max']:.2f})" for cell in cells)])
    return [Table(caption=about, lines=lines), Table(caption="Compared within each round:", lines=compared)]


def targets(figures: Figures) -> list[Target]:
    rate = figures["rate"].get("engine", {}).get("bare_pool", {}).get("median")
    faster = figures["faster"].get("engine", {}).get("personal_lines", {}).get("median")
    return [
        Target(says="personal: share of the bare pool's rate, 128 in flight", limit=0.75, came=rate),
        Target(says="personal: as fast as personal_lines, times", limit=1.5, came=faster),
    ]


def plots(figures: Figures) -> dict[str, str]:
    drawn = [
        svg.Bar(name=name, value=row["rate"], low=row["rate"], high=row["rate"], group=0 if "engine" in name else 1)
        for name, row in figures["tools"].items()
    ]
    title = f"{figures['recipients']:,} requests of one number"
    return {"personal.svg": svg.bars(title, "requests a second (more is better)", drawn, form="{:,.0f}")}
