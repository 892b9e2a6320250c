"""The compact form of line numbers: a batch of a hundred neighbours costs eight characters."""

from __future__ import annotations

from engine.language import _

_LINE_BITS = 32  # no list has more lines, and the two together stay below what JavaScript and SQLite count exactly


def pack_lines(lines: list[int]) -> str:
    """Line numbers as runs: [2, 3, 4, 7, 7] is "2-4,7,7". Any order, repetitions kept, "" for none."""
    if not lines:
        return ""
    runs: list[str] = []
    first = before = lines[0]
    for line in lines[1:]:
        if line != before + 1:
            runs.append(_run(first, before))
            first = line
        before = line
    runs.append(_run(first, before))
    return ",".join(runs)


def _run(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


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
