"""The benchmarks measure what they say: their sums, their pictures, and one small round of the real thing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import report, svg, tables
from benchmarks.arrivals import middle_rate, sustained_rate, worst_window
from benchmarks.fit import exponent
from benchmarks.rounds import in_turns, medians, ratios
from benchmarks.shape import Given, Target
from benchmarks.suite import SUITE, latency


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 1.05, 2.0])
def test_the_fit_finds_the_exponent_of_a_power_law(power: float) -> None:
    sizes = [100.0, 3_000.0, 10_000.0, 1e6]
    assert exponent(sizes, [7 * size**power for size in sizes]) == pytest.approx(power, abs=1e-9)


def test_one_size_has_no_exponent() -> None:
    with pytest.raises(ValueError, match="two sizes"):
        exponent([10.0, 10.0], [1.0, 2.0])


def test_the_fullest_window_is_found_and_its_end_does_not_belong_to_it() -> None:
    assert worst_window([0.0, 0.5, 0.9, 1.0, 1.4]) == 4
    assert worst_window([0.0, 1.0, 2.0]) == 1


def test_rates_leave_out_the_start() -> None:
    times = [0.0] * 20 + [1.0 + number / 10 for number in range(100)]
    assert sustained_rate(times) == pytest.approx(10.0)
    assert middle_rate([number / 50 for number in range(400)]) == pytest.approx(50.0)
    with pytest.raises(ValueError, match="too few"):
        middle_rate([1.0])


def test_of_requests_that_come_in_waves_whole_waves_are_counted() -> None:
    times = [float(number // 16) for number in range(16 * 9 + 5)]
    assert middle_rate(times, wave=16) == pytest.approx(16.0)
    assert middle_rate(times) != pytest.approx(16.0)
    assert sustained_rate(times, wave=16) == pytest.approx(16.0)


def test_ratios_are_made_within_a_round() -> None:
    found = ratios([{"wall_s": 2.0}, {"wall_s": 9.0}], [{"wall_s": 1.0}, {"wall_s": 3.0}])
    assert found == {"median": 2.5, "min": 2.0, "max": 3.0}


def test_a_tool_that_fails_is_left_out_and_said_and_the_others_go_on() -> None:
    def once(name: str) -> dict[str, float]:
        if name == "broken":
            raise ValueError("no number")
        return {"wall_s": 1.0}

    runs, failures = in_turns(["broken", "whole"], 2, once)
    assert medians(runs)["whole"] == {"wall_s": 1.0, "wall_min_s": 1.0, "wall_max_s": 1.0}
    assert "no number" in failures["broken"]
    assert "broken" not in runs


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        (Target(says="x", limit=1.2, came=1.2), "met"),
        (Target(says="x", limit=1.2, came=1.19), "MISSED"),
        (Target(says="x", limit=6, came=6.1, at_least=False), "MISSED"),
        (Target(says="x", limit=6, came=None), "not measured"),
    ],
)
def test_a_target_is_met_missed_or_not_measured(target: Target, verdict: str) -> None:
    assert target.verdict == verdict
    assert verdict in tables.captioned(tables.of_targets([target]))


def test_a_table_is_padded_markdown() -> None:
    assert tables.markdown([["a", "bb"], ["ccc", "d"]]) == "| a   | bb |\n| --- | -- |\n| ccc | d  |"


def test_a_picture_is_xml_with_title_axes_and_every_name() -> None:
    series = [svg.Series(name="us & them", points=[(16, 99.0), (256, 40.5)])]
    drawn = svg.lines(
        "A <title>", svg.Axis(label="in flight", log=True), svg.Axis(label="%"), series, limit=(95, "95 %")
    )
    texts = [element.text for element in ElementTree.fromstring(drawn).iter() if element.text]
    assert {"A <title>", "in flight", "%", "us & them", "95 %", "16", "256"} <= set(texts)
    assert "prefers-color-scheme: dark" in drawn
    ticks = ElementTree.fromstring(svg.bars("t", "s", [svg.Bar(name="one", value=2.0, low=1.5, high=3.0)]))
    assert ticks.tag.endswith("svg")
    assert "2.00" in [element.text for element in ticks.iter()]


def test_every_benchmark_says_what_it_measures() -> None:
    assert list(SUITE) == [
        "bulk", "personal", "latency", "pace", "memory", "resume", "track", "start", "planning", "radar"
    ]  # fmt: skip
    for module in SUITE.values():
        assert module.SAYS.endswith(".")
        assert {"measure", "tables", "targets", "plots"} <= set(vars(module))


def test_the_readme_has_a_place_for_the_results_and_nothing_else_is_changed(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    text = report.README.read_text(encoding="utf-8")
    readme.write_text(text, encoding="utf-8")
    assert report.write_report(tmp_path / "none", readme, tmp_path / "plots") == []
    written = readme.read_text(encoding="utf-8")
    assert written.partition(report.BEGIN)[0] == text.partition(report.BEGIN)[0]
    assert written.partition(report.END)[2] == text.partition(report.END)[2]


def test_a_small_round_is_measured_written_and_shown(tmp_path: Path) -> None:
    figures = latency.measure(Given(folder=tmp_path, rows=300, rounds=1), [50], [16])
    row = figures["points"]["50/16"]["tools"]["engine"]
    assert figures["points"]["50/16"]["failures"] == {}
    assert 0 < row["share"] < 1.3
    assert math.isclose(row["rate"], row["share"] * 16 / 0.05)
    assert row["held_s"] >= 0.045
    machine = dict.fromkeys(("date", "cpu", "cores", "memory", "python", "load before"), "here")
    result = {"benchmark": "latency", "command": "python -m benchmarks latency", "machine": machine, "figures": figures}
    report.write_result(tmp_path / "results", "latency", result)
    readme = tmp_path / "README.md"
    readme.write_text(f"before {report.BEGIN} old {report.END} after", encoding="utf-8")
    assert report.write_report(tmp_path / "results", readme, tmp_path / "plots") == ["latency"]
    written = readme.read_text(encoding="utf-8")
    assert "old" not in written
    assert "`python -m benchmarks latency`" in written
    assert ElementTree.fromstring((tmp_path / "plots" / "latency.svg").read_text(encoding="utf-8")).tag.endswith("svg")


def test_figures_are_written_to_six_digits(tmp_path: Path) -> None:
    path = report.write_result(
        tmp_path, "x", {"rate": 1234.56789012345, "rows": 1_000_000, "each": [0.1, 2 / 3], "says": "x"}
    )
    assert json.loads(path.read_text()) == {"rate": 1234.57, "rows": 1_000_000, "each": [0.1, 0.666667], "says": "x"}
