"""List files for tests, and what reading them gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.intake import ListFile, Seen, inspect
from engine.intake.reader import _read
from engine.model import Excluded, Exclusion


@dataclass
class Taken:
    """All chunks of a list, laid end to end."""

    rows: int
    extra: int
    mobiles: list[str]
    lines: list[int]
    excluded: list[Excluded]

    @property
    def reasons(self) -> list[tuple[int, Exclusion]]:
        return [(row.line, row.reason) for row in self.excluded]


def written(folder: Path, content: str | bytes, *, encoding: str = "utf-8", name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def taken(path: Path, *, column: str | None = None, encoding: str | None = None, seen: Seen | None = None) -> Taken:
    return harvested(inspect(path, column=column, encoding=encoding), seen=seen)


def harvested(
    list_file: ListFile, *, seen: Seen | None = None, quick: bool = True, block_bytes: int = 1 << 16
) -> Taken:
    """Read it all; the law of conservation is checked for every chunk of every test."""
    all_of_it = Taken(0, 0, [], [], [])
    known = Seen() if seen is None else seen
    for chunk in _read(list_file, seen=known, quick=quick, block_bytes=block_bytes):
        assert chunk.rows + chunk.extra == len(chunk.mobiles) + len(chunk.excluded)
        assert len(chunk.mobiles) == len(chunk.lines)
        assert chunk.lines == sorted(chunk.lines)
        all_of_it.rows += chunk.rows
        all_of_it.extra += chunk.extra
        all_of_it.mobiles += chunk.mobiles
        all_of_it.lines += chunk.lines
        all_of_it.excluded += chunk.excluded
    assert len(set(all_of_it.mobiles)) == len(all_of_it.mobiles)
    return all_of_it
