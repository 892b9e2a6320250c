"""What number rules, batches and a preview cost beside the loop one writes by hand."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from benchmarks.lists import CustomerList, write_list
from benchmarks.measure import run_measured
from benchmarks.rounds import Run, in_turns, medians, ratios
from benchmarks.server import constant_server
from benchmarks.shape import Figures, Given, Table, Target, note
from benchmarks.tools import TEXT, Call, bare_environ, engine, script

SAYS = (
    "`xinshi plan` of a GB18030 list, with one text and with templates of three columns, against the plain csv, regular expression"
    " and set loop; memory at ten times the rows."
)
FEW_TEXTS = "【信使】您好，{城市}的{会员等级}客户，{城市}分店周年庆。拒收请回复R"  # 44 different ones
A_TEXT_EACH = "【信使】{姓名}您好，您（{客户编号}）在{城市}分店有一张新券。拒收请回复R"
_TEXTS = {"plan": TEXT, "plan_few_texts": FEW_TEXTS, "plan_a_text_each": A_TEXT_EACH}
_TOOLS = (*_TEXTS, "plain_loop")


def measure(given: Given) -> Figures:
    """In turns. Then each once on a list ten times as long, for its memory."""
    rows, rounds = given.rows_or(1_000_000, 50_000), given.rounds_or(5)
    note(f"writing a list of {rows:,} rows")
    customers = write_list(given.folder / "customers.csv", rows, given.seed)
    figures: Figures = {"rows": rows, "rounds": rounds, "sizes": {}}
    with constant_server() as server:

        def once(name: str) -> Run:
            return _once(name, customers, server.port, given.limit_s)

        runs, figures["failures"] = in_turns(_TOOLS, rounds, once, about="planning, ")
        figures["sizes"][str(rows)] = medians(runs)
        figures["ratios"] = {
            name: ratios(runs[name], runs["plain_loop"]) for name in _TEXTS if name in runs and "plain_loop" in runs
        }
        if not given.small and shutil.disk_usage(given.folder).free > 200 * 10 * rows:
            note(f"writing a list of {10 * rows:,} rows")
            customers = write_list(customers.path, 10 * rows, given.seed)
            runs, _ = in_turns(_TOOLS, 1, once, about="planning, ten times the rows, ")
            figures["sizes"][str(10 * rows)] = medians(runs)
    return figures


def _once(name: str, customers: CustomerList, port: int, limit_s: float) -> Run:
    with tempfile.TemporaryDirectory(prefix="xinshi-bench-planning-") as place:
        folder = Path(place)
        call: Call
        if name in _TEXTS:
            call = engine(customers.path, port, folder, text=_TEXTS[name], verb="plan")
        else:
            call = script("plain_loop.py", customers.path)
        environ = bare_environ(folder) | dict(call.environ)
        cost = run_measured(call.command, environ=environ, folder=folder, limit_s=limit_s, watch_memory=True)
    return {
        "wall_s": cost.wall_s,
        "cpu_s": cost.cpu_s,
        "peak_rss_mb": cost.peak_rss_mb,
        "peak_sum_mb": cost.peak_sum_mb,
    }


def tables(figures: Figures) -> list[Table]:
    lines = [["rows", "tool", "wall s", "(min … max)", "CPU s", "peak RSS of the largest process MB", "of all MB"]]
    for size, each in figures["sizes"].items():
        for name, row in each.items():
            spread = f"({row['wall_min_s']:.2f} … {row['wall_max_s']:.2f})"
            cells = [f"{row['wall_s']:.2f}", spread, f"{row['cpu_s']:.2f}"]
            lines.append([f"{int(size):,}", name, *cells, f"{row['peak_rss_mb']:.0f}", f"{row['peak_sum_mb']:.0f}"])
    lines += [["", name, f"not measured: {why}", *[""] * 4] for name, why in figures["failures"].items()]
    about = f"Medians of {figures['rounds']} rounds, in turns; the longer list once. `plan` also starts, asks for the balance,"
    about += " hashes the list and writes the rejects."
    about += " `plan_few_texts` has two columns in three places, 44 different texts; `plan_a_text_each` three columns, no two alike."
    for name, ratio in figures["ratios"].items():
        about += f" {name} takes {ratio['median']:.2f} ({ratio['min']:.2f} … {ratio['max']:.2f}) times the loop's time."
    return [Table(caption=about, lines=lines)]


def targets(figures: Figures) -> list[Target]:
    limits = {"plan": (1.5, "one text"), "plan_few_texts": (2.5, "few texts"), "plan_a_text_each": (2.5, "a text each")}
    found = []
    for name, (limit, words) in limits.items():
        came = figures["ratios"].get(name, {}).get("median")
        says = f"planning: {figures['rows']:,} rows, {words}, time over the plain loop's"
        found.append(Target(says=says, limit=limit, came=came, at_least=False))
    longest = figures["sizes"].get(str(10 * figures["rows"]), {}).get("plan_a_text_each", {})
    says = f"planning: {10 * figures['rows']:,} rows, a text each, memory of all processes"
    found.append(Target(says=says, limit=300, came=longest.get("peak_sum_mb"), at_least=False, unit="MB"))
    return found


def plots(figures: Figures) -> dict[str, str]:
    return {}
