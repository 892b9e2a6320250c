"""The rows that were left out, as a CSV that a spreadsheet opens and that can be given again once it is repaired.

Before the columns of the list stand our own: which file, which line, the reason as one word and in words. Then the row as it
stood, so that every cell the text needs comes along. UTF-8 with a byte order mark, without which Excel shows Chinese as rubbish;
what a spreadsheet would compute is made harmless, and taken back when the file is read again.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from engine.errors import IntakeError
from engine.intake.columns import OWN_COLUMNS, folded
from engine.intake.files import ListFile
from engine.intake.harmless import all_harmless, harmless, unharmed
from engine.language import _
from engine.lines import untagged
from engine.model import Excluded, Exclusion
from engine.terms import system_words

__all__ = ["RejectsFile", "harmless"]

_NUMBER = "手机号"  # what the column of numbers is called where the list has no header


class RejectsFile:
    """Writes exclusions to `path`, readable by its owner only (0600), complete or not at all.

    A context manager. Nothing is created before the first exclusion; the rows gather beside `path` under another name, which takes
    its place when the block ends well and is removed when it does not. A file that stood there is replaced.
    """

    def __init__(self, path: Path, lists: Sequence[ListFile], *, first: int = 0) -> None:
        """`lists`: where the rows come from; their lines are tagged with the places of the lists, from `first` on."""
        self.path = path
        self._first = first
        self._labels = [as_csv([harmless(each.label)]) for each in lists]
        self._why: dict[tuple[Exclusion, str], str] = {}
        self._shapes, self._header = _laid_out(lists)
        self.written = 0
        self._file: IO[str] | None = None
        self._partial = path

    def add(self, excluded: Iterable[Excluded], original: Callable[[int], Sequence[str]]) -> None:
        """Append one line each; `original` gives the cells of a line. Raises IntakeError where the file cannot be written."""
        rows = [self._row(row, original(row.line)) for row in excluded]
        if not rows:
            return
        try:
            (self._file or self._open()).write("".join(rows))
        except OSError as exc:
            raise IntakeError(
                _("the rejects cannot be written: {problem}").format(problem=system_words(exc)), source=self.path
            ) from exc
        self.written += len(rows)

    def __enter__(self) -> RejectsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        try:
            self._file.close()  # writes what was buffered, so it may fail as any write
            if error is None:
                self._partial.replace(self.path)
        except OSError as exc:
            raise IntakeError(
                _("the rejects cannot be written: {problem}").format(problem=system_words(exc)), source=self.path
            ) from exc
        finally:
            with contextlib.suppress(FileNotFoundError):
                self._partial.unlink()

    def _open(self) -> IO[str]:
        # mkstemp creates with 0600 in one step: at no moment can anybody else open it.
        handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".partial", dir=self.path.parent)
        self._partial = Path(name)
        self._file = os.fdopen(handle, "w", encoding="utf-8-sig", newline="")
        self._file.write(f"{as_csv((*OWN_COLUMNS, *self._header))}\r\n")
        return self._file

    def _row(self, row: Excluded, cells: Sequence[str]) -> str:
        source, line = untagged(row.line)
        shape = self._shapes[source - self._first]
        cells = all_harmless(shape.laid_out(cells, len(self._header)))
        why = self._why.get((row.reason, row.detail))
        if why is None:
            why = self._why[row.reason, row.detail] = as_csv([row.reason.value, _(row.detail)])
        return f"{self._labels[source - self._first]},{line},{why},{as_csv(cells)}\r\n"


def as_csv(cells: Sequence[str]) -> str:
    """The cells of a row, or some of them, as csv writes them. Where none needs quotes they are only joined, in a third of the time."""
    joined = ",".join(cells)
    if joined.count(",") == len(cells) - 1 and not ('"' in joined or "\r" in joined or "\n" in joined):
        return joined
    row = io.StringIO()
    csv.writer(row).writerow(cells)
    return row.getvalue()[:-2]


class _Shape:
    """Where the columns of one list stand in the file. `places[i]` is the place of its column i, None: it is left away."""

    def __init__(self, places: Sequence[int | None], *, of_rejects: bool) -> None:
        self._places, self._of_rejects = places, of_rejects
        in_order = not of_rejects and list(places) == list(range(len(places)))
        self._as_they_stand = len(places) if in_order else None  # so many cells of a row need no place of their own

    def laid_out(self, cells: Sequence[str], width: int) -> Sequence[str]:
        """The cells at their places; those beyond the list's width follow, so that the row is malformed again."""
        if len(cells) == width == self._as_they_stand:
            return cells
        if self._of_rejects:
            cells = list(map(unharmed, cells))
        laid = [""] * width
        for place, cell in zip(self._places, cells, strict=False):  # a row may have more cells, or fewer
            if place is not None:
                laid[place] = cell
        return [*laid, *cells[len(self._places) :]]


def _laid_out(lists: Sequence[ListFile]) -> tuple[list[_Shape], list[str]]:
    """The lists' columns side by side: those of the first, then what the others have beside. The numbers share one column."""
    header: list[str] = []
    known: dict[tuple[str, int], int] = {}
    shapes = []
    for each in lists:
        places: list[int | None] = []
        times: dict[str, int] = {}
        for at, name in enumerate(_names(each)):
            if each.is_of_rejects and name.strip() in OWN_COLUMNS:
                places.append(None)
                continue
            same = "\0number" if at == each.column else folded(name) or f"\0{at}"
            times[same] = times.get(same, 0) + 1
            if (same, times[same]) not in known:
                known[same, times[same]] = len(header)
                header.append(name)
            places.append(known[same, times[same]])
        shapes.append(_Shape(places, of_rejects=each.is_of_rejects))
    return shapes, header


def _names(each: ListFile) -> list[str]:
    if each.header is None:
        return [_NUMBER if at == each.column else str(at + 1) for at in range(each.width)]
    return [*each.header, *[""] * (each.width - len(each.header))]
