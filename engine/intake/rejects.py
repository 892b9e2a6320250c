"""The rows that were left out, as a CSV that a spreadsheet opens: line, number cell, reason, detail; of several lists, the list first.

UTF-8 with a byte order mark, without which Excel shows Chinese as rubbish. Cells that a spreadsheet would compute
(=, +, -, @ and controls at the beginning) get an apostrophe in front; cells of digits and separators alone do not, so that a
country code stays as it was written.
"""

from __future__ import annotations

import contextlib
import csv
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from engine.errors import IntakeError
from engine.lines import untagged
from engine.model import Excluded

HEADER = ("line", "number", "reason", "detail")
_COMPUTED = re.compile(r"[=+\-@\t\r\n]")
_ONLY_A_NUMBER = re.compile(r"[+\-]?[0-9][0-9 ()./\-]*")


class RejectsFile:
    """Writes exclusions to `path`, readable by its owner only (0600), complete or not at all.

    A context manager. Nothing is created before the first exclusion; the rows gather beside `path` under another name, which takes
    its place when the block ends well and is removed when it does not. A file that stood there is replaced.
    """

    def __init__(self, path: Path, *, labels: Sequence[str] = ()) -> None:
        """`labels`: how the lists are called, by the place that their lines are tagged with. Of one list, lines need no name."""
        self.path = path
        self._labels = labels if len(labels) > 1 else ()
        self.written = 0
        self._file: IO[str] | None = None
        self._partial = path
        self._writer: Any = None  # csv's writer type has no public name

    def add(self, excluded: Iterable[Excluded]) -> None:
        """Append one line each. Raises IntakeError where the file cannot be written."""
        rows = [(*self._place(row.line), harmless(row.raw), row.reason.value, row.detail) for row in excluded]
        if not rows:
            return
        try:
            if self._file is None:
                self._open()
            self._writer.writerows(rows)
        except OSError as exc:
            raise IntakeError(f"the rejects cannot be written: {exc.strerror or exc}", source=self.path) from exc
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
            raise IntakeError(f"the rejects cannot be written: {exc.strerror or exc}", source=self.path) from exc
        finally:
            with contextlib.suppress(FileNotFoundError):
                self._partial.unlink()

    def _open(self) -> None:
        # mkstemp creates with 0600 in one step: at no moment can anybody else open it.
        handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".partial", dir=self.path.parent)
        self._partial = Path(name)
        self._file = os.fdopen(handle, "w", encoding="utf-8-sig", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(("file", *HEADER) if self._labels else HEADER)

    def _place(self, line: int) -> tuple[str | int, ...]:
        if not self._labels:
            return (line,)
        source, own_line = untagged(line)
        return harmless(self._labels[source]), own_line


def harmless(cell: str) -> str:
    """The cell as a spreadsheet shows it without computing anything."""
    return f"'{cell}" if _COMPUTED.match(cell) and not _ONLY_A_NUMBER.fullmatch(cell) else cell
