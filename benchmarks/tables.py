"""Tables as Markdown that can be read as it is."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.shape import Table, Target


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """The first line is the head. Cells are padded."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    head, *rest = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    rule = ["-" * width for width in widths]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rest))


def captioned(table: Table) -> str:
    return f"{table.caption}\n\n{markdown(table.lines)}"


def of_targets(targets: Sequence[Target]) -> Table:
    """What was promised, and what came of it."""
    lines = [["target", "promised", "measured", ""]]
    lines += [[target.says, target.promised, target.measured, target.verdict] for target in targets]
    return Table(caption="Targets:", lines=lines)
