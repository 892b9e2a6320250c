"""A sheet of an Excel or OpenDocument workbook as rows of text. The door to calamine.

calamine loads a sheet as a whole, as a dense table from the first to the last cell in use, and a damaged workbook or a single
cell far out can end the process that loads it. So it runs in a process of its own, with a bound on its memory, and the rows
come through a pipe: the reading process stays flat, and a crash over there is a sentence over here.

A cell becomes the text that a CSV would have held: whole numbers without a point (Excel keeps phones as floats), dates in ISO,
nothing for a formula that failed.
"""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from engine import frames, language
from engine.errors import IntakeError
from engine.intake.given import Given
from engine.language import _

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

MOST_MEMORY_BYTES = 4 << 30  # what calamine may take: a full sheet of 1,048,576 rows and 30 columns fits
SAMPLE_ROWS = 400
_FRAME_ROWS = 4_000
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_OUT_OF_MEMORY = 77  # the exit code
_EXACT = 10**15  # a float is exact below it, and so is what Excel shows

Cell = str | int | float | datetime.date | datetime.time | datetime.timedelta
Rows = tuple[int, list[list[str]]]  # the row number of the first, and the rows


@dataclass(frozen=True, slots=True)
class Sheet:
    """One sheet of a workbook, chosen by name."""

    given: Given
    inside: str  # the sheet's name
    head: list[list[str]] = field(default_factory=list, repr=False, compare=False)  # its first rows

    @property
    def source(self) -> str:
        return _("{source}, sheet {inside}").format(source=self.given.source, inside=self.inside)

    def __reduce__(self) -> tuple[Any, ...]:
        return Sheet, (self.given, self.inside)  # the customers in `head` stay here

    def sample(self) -> list[tuple[int, list[str]]]:
        """The first rows, with their row numbers."""
        return list(enumerate(self.head, start=1))

    def rows(self) -> Iterator[Rows]:
        """All rows, in order, a few thousand at a time. Raises IntakeError."""
        with _loading(self.given, self.inside, None) as told:
            next(told)
            yield from told


def chosen(given: Given, wanted: str | None) -> Sheet:
    """The sheet called `wanted`, or at that place (1-based, among the visible ones); None: the only one with something in it.

    Raises IntakeError: no workbook, damaged, protected, no such sheet, several that could be it.
    """
    with _loading(given, wanted, SAMPLE_ROWS) as told:
        name = next(told)
        return Sheet(given, name, [row for _, rows in told for row in rows])


@contextmanager
def _loading(given: Given, wanted: str | None, most: int | None) -> Iterator[Iterator[Any]]:
    """What the loading process gives: the sheet's name, then Rows. Leaving ends it."""
    with given.opened() as file:
        fd = file.fileno()
        # -c: as a module it would be imported a second time under another name. -P: see pipeline.py. stderr: Rust's last words.
        child = subprocess.Popen(  # noqa: S603  our own module
            [sys.executable, "-P", "-c", "from engine.intake import sheets; sheets.main()", str(fd)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
                language.VARIABLE: language.spoken(),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[fd],
        )
    try:
        yield _told(child, given, wanted, most)
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


def _told(child: subprocess.Popen[bytes], given: Given, wanted: str | None, most: int | None) -> Iterator[Any]:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        frames.write(child.stdin, (wanted, most), checked=True)
        while (told := frames.read(child.stdout)) is not None:
            if isinstance(told, IntakeError):
                raise IntakeError(told.problem, source=given.source)
            yield told
    except (EOFError, BrokenPipeError, frames.Garbled) as exc:
        raise IntakeError(_ended(child.wait()), source=given.source) from exc


def _ended(code: int) -> str:
    if code == _OUT_OF_MEMORY or code in (-signal.SIGABRT, -signal.SIGKILL):
        return _(
            "the sheet does not fit into {most} GiB of memory; a single cell far to the right or far down is enough "
            "for that: delete the empty rows and columns around the list, or save the sheet as CSV"
        ).format(most=MOST_MEMORY_BYTES >> 30)
    return _("a damaged workbook, which cannot be read: open it, and save it again or as CSV")


def main() -> None:
    """The loading process."""
    import resource

    language.speak(language.chosen(None, os.environ))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most_bytes = MOST_MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MOST_MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, hard))
    wanted, most = frames.read(sys.stdin)
    try:
        with os.fdopen(int(sys.argv[1]), "rb") as file:
            file.seek(0)  # the position is shared with whoever opened it
            for told in chain(_loaded(file, wanted, most), [None]):
                frames.write(sys.stdout, told, checked=True)
    except IntakeError as error:
        frames.write(sys.stdout, error, checked=True)
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)
    except BrokenPipeError:
        os._exit(0)  # who asked has heard enough


def _loaded(file: IO[bytes], wanted: str | None, most: int | None) -> Iterator[str | Rows]:
    import python_calamine as calamine

    try:
        workbook = calamine.load_workbook(file)
        sheet = _sheet(workbook, wanted)
    except calamine.CalamineError as exc:
        if isinstance(exc, calamine.PasswordError) or _is_encrypted(file):
            raise IntakeError(_("the workbook is protected with a password: save it without one")) from exc
        raise IntakeError(
            _("a damaged Excel workbook, or none at all ({problem}): save it again, or as CSV").format(problem=exc)
        ) from exc
    yield sheet.name
    left = [""] * (sheet.start[1] if sheet.start else 0)  # columns count as on the screen; rows come from the first on
    rows = ([*left, *map(text_of, cells)] for cells in islice(sheet.iter_rows(), most))
    first = 1
    while cut := list(islice(rows, _FRAME_ROWS)):
        yield first, cut
        first += len(cut)


def _is_encrypted(file: IO[bytes]) -> bool:
    """Whether an OLE file has the stream that Excel encrypts a workbook into; calamine says only that it is no workbook."""
    file.seek(0)
    before = b""
    while piece := file.read(1 << 20):
        if _ENCRYPTED in before + piece:
            return True
        before = piece[-len(_ENCRYPTED) :]
    return False


def _sheet(workbook: CalamineWorkbook, wanted: str | None) -> CalamineSheet:
    """Raises IntakeError without a source: whoever asked knows it."""
    import python_calamine as calamine

    tables = [each for each in workbook.sheets_metadata if each.typ is calamine.SheetTypeEnum.WorkSheet]
    visible = [each.name for each in tables if each.visible is calamine.SheetVisibleEnum.Visible]
    if wanted is not None:
        return workbook.get_sheet_by_name(named([each.name for each in tables], visible, wanted))
    if len(visible) == 1:
        return workbook.get_sheet_by_name(visible[0])
    filled = [sheet for sheet in map(workbook.get_sheet_by_name, visible) if sheet.height]
    if len(filled) == 1:
        return filled[0]
    if not filled:
        raise IntakeError(
            _("no sheet that is shown has anything in it (a hidden one can be named with --sheet)")
            + _listing(_("; there are:"), visible)
        )
    counted = {
        sheet.name: _("{name} ({height:,} rows)").format(name=sheet.name, height=sheet.height) for sheet in filled
    }
    raise IntakeError(
        _("{count} sheets hold data; say which one with --sheet").format(count=len(filled))
        + _listing(":", [counted.get(name, _("{name} (empty)").format(name=name)) for name in visible])
    )


def named(tables: Sequence[str], visible: Sequence[str], wanted: str) -> str:
    """The sheet that the operator means: a name first, hidden ones too, else the place among those that are shown.

    Raises IntakeError.
    """
    if wanted in tables:
        return wanted
    if len(alike := [name for name in tables if name.strip().casefold() == wanted.strip().casefold()]) == 1:
        return alike[0]
    if wanted.strip().isdecimal() and 1 <= int(wanted) <= len(visible):
        return visible[int(wanted) - 1]
    raise IntakeError(_("there is no sheet {wanted!r}").format(wanted=wanted) + _listing(_("; there are:"), visible))


def _listing(words: str, names: Iterable[str]) -> str:
    lines = "".join(f"\n  {place}: {name}" for place, name in enumerate(names, start=1))
    return words + lines if lines else ""


def text_of(cell: Cell) -> str:
    """The cell as a CSV would hold it. A float that is a whole number is written without a point, and never as 1.38E+10."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        # Above it Excel has rounded: repr gives an exponent or ".0", which stays visible as digits that are lost.
        return str(int(cell)) if cell.is_integer() and abs(cell) < _EXACT else repr(cell)
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(sep=" ")
    if isinstance(cell, (datetime.date, datetime.time)):
        return cell.isoformat()
    return str(cell)


def is_workbook(names: Collection[str], source: Path | str) -> bool:
    """Whether a zip archive with members called `names` is a workbook. Raises IntakeError for a Word file and its kin."""
    if any(name.startswith("xl/") for name in names) or {"mimetype", "content.xml"} <= set(names):
        return True
    if "[Content_Types].xml" in names:
        raise IntakeError(_("this is an Office file, but no workbook: save the list as CSV or as .xlsx"), source=source)
    return False
