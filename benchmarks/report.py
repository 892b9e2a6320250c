"""benchmarks/README.md and the plots, from the results that were written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.shape import Benchmark, Table
from benchmarks.suite import SUITE
from benchmarks.tables import captioned, markdown, of_targets

HERE = Path(__file__).parent
RESULTS, PLOTS, README = HERE / "results", HERE / "plots", HERE / "README.md"
BEGIN, END = "<!-- results begin -->", "<!-- results end -->"


def write_result(folder: Path, name: str, result: dict[str, Any]) -> Path:
    """Write down what one benchmark came to, to six digits: more are noise, and eleven may look like somebody's number."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(_rounded(result), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return float(f"{value:.6g}")
        case dict():
            return {key: _rounded(each) for key, each in value.items()}
        case list() | tuple():
            return [_rounded(each) for each in value]
        case _:
            return value


def write_report(results: Path = RESULTS, readme: Path = README, plots: Path = PLOTS) -> list[str]:
    """Put everything in `results` into the README between its markers, and draw it. Gives the names it found."""
    found = {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name in SUITE
        if (path := results / f"{name}.json").is_file()
    }
    parts = [_overview(found)] if found else ["Nothing has been measured yet: `make bench`."]
    for name, result in found.items():
        parts += section(name, result, plots)
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, marker, after = rest.partition(END)
    if not marker:
        raise ValueError(f"{readme}: the markers {BEGIN} and {END} are expected")
    readme.write_text(f"{before}{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}{after}", encoding="utf-8")
    return list(found)


def _overview(found: dict[str, dict[str, Any]]) -> str:
    lines = [["benchmark", "target", "promised", "measured", ""]]
    for name, result in found.items():
        for target in SUITE[name].targets(result["figures"]):
            lines.append([f"[{name}](#{name})", target.says, target.promised, target.measured, target.verdict])
    return captioned(Table(caption="### Targets", lines=lines))


def section(name: str, result: dict[str, Any], plots: Path) -> list[str]:
    """One benchmark's part, in paragraphs. Its plots are drawn beside."""
    benchmark: Benchmark = SUITE[name]
    figures, machine = result["figures"], result["machine"]
    where = (
        f"`{result['command']}`, {machine['date']}, {machine['cpu']}, {machine['cores']} cores, {machine['memory']}, "
        f"Python {machine['python']}, load before {machine['load before']}"
    )
    parts = [f"### {name}", benchmark.SAYS, where]
    parts += [captioned(table) for table in benchmark.tables(figures)]
    for file, drawing in benchmark.plots(figures).items():
        plots.mkdir(parents=True, exist_ok=True)
        (plots / file).write_text(drawing, encoding="utf-8")
        parts.append(f"![{name}]({plots.name}/{file})")
    return parts


def page(name: str, result: dict[str, Any]) -> str:
    """What is printed after a run."""
    benchmark: Benchmark = SUITE[name]
    figures = result["figures"]
    parts = [f"## {name}", *map(captioned, benchmark.tables(figures))]
    if targets := benchmark.targets(figures):
        parts.append(captioned(of_targets(targets)))
    return "\n\n".join(parts)


def machine_lines(machine: dict[str, str]) -> str:
    return markdown([["machine", ""], *([name, value] for name, value in machine.items())])
