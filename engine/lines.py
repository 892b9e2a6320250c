"""The compact forms of line numbers: runs, and runs as text. A batch of a hundred neighbours is one run, or eight characters."""

from __future__ import annotations

from collections.abc import Iterable

from engine.language import _

Run = tuple[int, int]
"""The first and the last of lines that follow each other."""

_LINE_BITS = 32  # no list has more lines, and the two together stay below what JavaScript and SQLite count exactly


def pack_lines(lines: list[int]) -> str:
    """Line numbers as runs: [2, 3, 4, 7, 7] is "2-4,7,7". Any order, repetitions kept, "" for none."""
    return pack_runs(runs_of(lines))


def pack_runs(runs: Iterable[Run]) -> str:
    """The same of lines that are in runs already."""
    return ",".join([str(first) if first == last else f"{first}-{last}" for first, last in runs])


def runs_of(lines: list[int]) -> list[Run]:
    """The runs of line numbers, in their order. Repetitions are kept: [7, 7] are two."""
    if not lines:
        return []
    runs: list[Run] = []
    first = before = lines[0]
    for line in lines[1:]:
        if line != before + 1:
            runs.append((first, before))
            first = line
        before = line
    runs.append((first, before))
    return runs


def runs_without(first: int, last: int, gaps: Iterable[int]) -> list[Run]:
    """The runs of the lines from `first` to `last` that are not among `gaps`, which ascend."""
    runs: list[Run] = []
    for gap in gaps:
        if first < gap:
            runs.append((first, gap - 1))
        first = gap + 1
    if first <= last:
        runs.append((first, last))
    return runs


def unrolled(runs: Iterable[Run]) -> list[int]:
    """The line numbers, one by one."""
    return [line for first, last in runs for line in range(first, last + 1)]


def unpack_lines(packed: str) -> list[int]:
    """The line numbers that `pack_lines` was given, in the same order. Raises ValueError for another text."""
    lines: list[int] = []
    for run in filter(None, packed.split(",")):
        first, _, last = run.partition("-")
        lines += range(int(first), int(last or first) + 1)
    return lines


def tagged(source: int, line: int) -> int:
    """A line of the list at place `source` (from 0) as one integer. Lines of the first list are themselves."""
    return (source << _LINE_BITS) + line


def untagged(line: int) -> tuple[int, int]:
    """The place of the list, and the line in it, that `tagged` was given."""
    return line >> _LINE_BITS, line & ((1 << _LINE_BITS) - 1)


def named_line(line: int) -> str:
    """A tagged line for people: "12", or "12 of list 2"."""
    source, number = untagged(line)
    return f"{number}" if source == 0 else _("{number} of list {place}").format(number=number, place=source + 1)
