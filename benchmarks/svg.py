"""Small plots as SVG text: lines and bars, with title, axes and units. Readable on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 24, 66, 58
_COLOURS = 6
_LETTER = 6.5  # the width of one, about
# The name of SVG's namespace, which is no address to go to. Its dots are written so that nobody takes it for one.
_NAMESPACE = "http&#58;//www&#46;w3&#46;org/2000/svg"
_STYLE = """
:root { --paper: #ffffff; --ink: #1f2328; --faint: #d0d7de; --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df;
  --c4: #9a6700; --c5: #57606a; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --faint: #30363d; --c0: #58a6ff;
  --c1: #f0883e; --c2: #3fb950; --c3: #bc8cff; --c4: #d29922; --c5: #8b949e; } }
text { fill: var(--ink); font: 13px system-ui, sans-serif; } .title { font-size: 16px; font-weight: 600; }
.small { font-size: 12px; } .grid { stroke: var(--faint); } .axis { stroke: var(--ink); }
.limit { stroke: var(--ink); stroke-dasharray: 5 4; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis. Bounds that are None follow the data; a logarithmic one needs values above 0."""

    label: str
    log: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one line, in order of x."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar with a whisker from `low` to `high`."""

    name: str
    value: float
    low: float
    high: float
    group: int = 0


@dataclass(slots=True)
class _Paper:
    """The parts of one picture."""

    title: str
    height: int = _HEIGHT
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, anchor: str = "middle", kind: str = "", turn: int = 0) -> None:
        turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        named = f' class="{kind}"' if kind else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}{turned}>{escape(words, quote=False)}</text>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def done(self) -> str:
        self.text(_WIDTH / 2, 26, self.title, kind="title")
        return "\n".join(
            [
                f'<svg xmlns="{_NAMESPACE}" viewBox="0 0 {_WIDTH} {self.height}" role="img">',
                f"<title>{escape(self.title, quote=False)}</title>",
                f"<style>{_STYLE}</style>",
                f'<rect width="{_WIDTH}" height="{self.height}" fill="var(--paper)"/>',
                *self.parts,
                "</svg>",
                "",
            ]
        )


def lines(title: str, x: Axis, y: Axis, series: Sequence[Series], *, limit: tuple[float, str] | None = None) -> str:
    """A line a series, a legend above them, and perhaps a dashed line with a name at a height."""
    paper = _Paper(title)
    across = _scale(x, [px for each in series for px, _ in each.points], _LEFT, _WIDTH - _RIGHT)
    heights = [py for each in series for _, py in each.points] + ([limit[0]] if limit else [])
    up = _scale(y, heights, _HEIGHT - _BOTTOM, _TOP)
    xs = sorted({px for each in series for px, _ in each.points}) if x.log else across.ticks
    for tick in xs:
        paper.line(across(tick), _TOP, across(tick), _HEIGHT - _BOTTOM, "grid")
        paper.text(across(tick), _HEIGHT - _BOTTOM + 18, _short(tick), kind="small")
    for tick in up.ticks:
        paper.line(_LEFT, up(tick), _WIDTH - _RIGHT, up(tick), "grid")
        paper.text(_LEFT - 8, up(tick) + 4, _short(tick), "end", "small")
    _frame(paper, x.label, y.label)
    if limit:
        paper.line(_LEFT, up(limit[0]), _WIDTH - _RIGHT, up(limit[0]), "limit")
        paper.text(_WIDTH - _RIGHT - 4, up(limit[0]) - 6, limit[1], "end", "small")
    place = float(_LEFT)
    for number, each in enumerate(series):
        colour = f"var(--c{number % _COLOURS})"
        path = " ".join(f"{across(px):.1f},{up(py):.1f}" for px, py in each.points)
        paper.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for px, py in each.points:
            paper.parts.append(f'<circle cx="{across(px):.1f}" cy="{up(py):.1f}" r="3.5" fill="{colour}"/>')
        paper.parts.append(f'<rect x="{place:.1f}" y="40" width="12" height="12" fill="{colour}"/>')
        paper.text(place + 18, 51, each.name, "start", "small")
        place += 18 + _LETTER * len(each.name) + 10
    return paper.done()


def bars(title: str, label: str, found: Sequence[Bar], *, form: str = "{:.2f}") -> str:
    """Bars that lie, one below the other, each with its value."""
    left, row = 210, 30
    paper = _Paper(title, height=_TOP + row * len(found) + _BOTTOM)
    bottom = paper.height - _BOTTOM
    across = _scale(Axis(label=label, low=0.0), [bar.high for bar in found], left, _WIDTH - 110)
    for tick in across.ticks:
        paper.line(across(tick), _TOP - 6, across(tick), bottom, "grid")
        paper.text(across(tick), bottom + 18, _short(tick), kind="small")
    for number, bar in enumerate(found):
        y, colour = _TOP + number * row, f"var(--c{bar.group % _COLOURS})"
        paper.text(left - 8, y + 17, bar.name, "end")
        paper.parts.append(
            f'<rect x="{left}" y="{y + 4}" width="{across(bar.value) - left:.1f}" height="18" fill="{colour}"/>'
        )
        paper.line(across(bar.low), y + 13, across(bar.high), y + 13, "axis")
        paper.text(across(bar.high) + 8, y + 17, form.format(bar.value), "start", "small")
    paper.line(left, _TOP - 6, left, bottom, "axis")
    paper.text((left + _WIDTH - 110) / 2, bottom + 42, label)
    return paper.done()


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to places on the paper."""

    place: Callable[[float], float]
    ticks: Sequence[float]

    def __call__(self, value: float) -> float:
        return self.place(value)


def _scale(axis: Axis, values: Sequence[float], begin: float, end: float) -> _Scale:
    low = min(values) if axis.low is None else axis.low
    high = max(values) if axis.high is None else axis.high
    if axis.log:
        a, b = math.log10(low), math.log10(high)
        a, b = (a - 0.05, b + 0.05) if axis.low is None else (a, b)
        powers = [10.0**power for power in range(math.ceil(a), math.floor(b) + 1)]
        return _Scale(lambda value: begin + (math.log10(value) - a) / (b - a) * (end - begin), powers)
    step = _step((high - low) or 1.0)
    low, high = math.floor(low / step) * step, math.ceil(high / step - 1e-9) * step
    high = high if high > low else low + step
    ticks = [low + step * number for number in range(round((high - low) / step) + 1)]
    return _Scale(lambda value: begin + (value - low) / (high - low) * (end - begin), ticks)


def _step(span: float) -> float:
    """A round number that goes into `span` about five times."""
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)


def _frame(paper: _Paper, x_label: str, y_label: str) -> None:
    paper.line(_LEFT, _TOP, _LEFT, _HEIGHT - _BOTTOM, "axis")
    paper.line(_LEFT, _HEIGHT - _BOTTOM, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM, "axis")
    paper.text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 16, x_label)
    paper.text(20, (_TOP + _HEIGHT - _BOTTOM) / 2, y_label, turn=-90)


def _short(value: float) -> str:
    """1,500,000 as 1.5 M."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
