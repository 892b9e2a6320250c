"""The lists of a campaign again: the files themselves where their hash still fits, else the copies beside the journal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.errors import IntakeError
from engine.intake.files import ListFile, examined, hash_of
from engine.intake.given import Content, Given, GivenFile
from engine.intake.kept import KeptList, kept_copy
from engine.intake.sheets import Sheet
from engine.intake.sources import contents_of
from engine.journal.port import SourceRecord
from engine.language import _

STANDARD_INPUT = "standard input"  # how the journal calls it


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A list of the campaign, ready to be read again; `list_file` None: it cannot be, and `problem` says why."""

    label: str
    number_column: str
    list_file: ListFile | None
    problem: str = ""


@contextmanager
def originals(sources: Sequence[SourceRecord], kept: Path) -> Iterator[list[Original]]:
    """The lists in their order, for as long as the block lasts. `kept`: the folder with the copies."""
    with ExitStack() as stack:
        given: dict[str, Given | str] = {}  # or the problem with it
        places: dict[str, int] = {}  # how many lists of that very name came before: archives may hold two
        found = []
        for record in sources:
            if record.sha256 not in given:
                given[record.sha256] = _given(record, kept, stack)
            place = places[record.path] = places.get(record.path, -1) + 1
            found.append(_original(record, given[record.sha256], place))
        yield found


def _given(record: SourceRecord, kept: Path, stack: ExitStack) -> Given | str:
    """The file, or a copy of it, with exactly the bytes that were planned; else why there is none."""
    why = _("came on standard input")
    if record.path != STANDARD_INPUT:
        path = file_of(record)
        if path is not None and _hash(path) == record.sha256:
            return GivenFile(path)
        why = _("is gone") if path is None else _("was changed since")
    copy = kept_copy(kept, record.sha256)
    if not copy.is_file():
        return _("{why}, and no copy of it was kept").format(why=why)
    try:
        unpacked = KeptList(copy, path=Path(record.path), source=_("the copy of {path}").format(path=record.path))
    except IntakeError as error:
        return _("{why}, and {error}").format(why=why, error=error)
    stack.callback(unpacked.close)
    if unpacked.sha256 == record.sha256:
        return unpacked
    return _("{why}, and its copy {copy} is damaged").format(why=why, copy=copy)


def file_of(record: SourceRecord) -> Path | None:
    """The file that a list is in. A path may itself hold the bar that divides it from the member."""
    inside = [record.path.removesuffix(f" | {record.inside}")] if record.inside else []
    parts = record.path.split(" | ")
    before = [" | ".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((Path(name) for name in (*inside, *before) if Path(name).is_file()), None)


def _hash(path: Path) -> str:
    try:
        return hash_of(GivenFile(path))
    except IntakeError:
        return ""


def _original(record: SourceRecord, given: Given | str, place: int) -> Original:
    if isinstance(given, str):
        return Original(label=record.path, number_column=record.number_column, list_file=None, problem=given)
    try:
        list_file = _as_it_was_read(record, given, place)
    except IntakeError as error:
        list_file, problem = None, str(error)
    else:
        problem = "" if list_file else _("is read in another way by this program than when it was planned")
    return Original(label=record.path, number_column=record.number_column, list_file=list_file, problem=problem)


def _as_it_was_read(record: SourceRecord, given: Given, place: int) -> ListFile | None:
    """The list inspected again, with the same column and the same first line; None where no way leads there."""
    content = _content(record, given, place)
    encoding = None if isinstance(content, Sheet) else record.encoding
    ways = [record.number_column, None if record.column is None else str(record.column + 1), None]
    if record.column is None:  # planned before the place was kept; "column 3" is how a column without a name is called
        ways.insert(1, record.number_column.removeprefix("column "))
    problem: IntakeError | None = None
    for column in dict.fromkeys(ways):
        try:
            list_file = examined(content, column=column, encoding=encoding, sha256=record.sha256)
        except IntakeError as error:
            problem = problem or error
            continue
        if record.column in (None, list_file.column) and record.first_line in (None, list_file.first_line):
            return list_file
    if problem is not None:
        raise problem
    return None


def _content(record: SourceRecord, given: Given, place: int) -> Content | Sheet:
    """The list in the file: the file itself, the archive's member or the workbook's sheet that was read."""
    contents, _problems = contents_of(given, _sheet_name(record))
    named = [content for content in contents if content.inside == record.inside]
    if not named and not record.inside:  # planned before the name inside was kept by itself
        named = [content for content in contents if record.path.endswith(f" | {content.inside}")]
    if not named:
        raise IntakeError(_("{inside!r} is not in it any more").format(inside=record.inside), source=given.source)
    return named[min(place, len(named) - 1)]


def _sheet_name(record: SourceRecord) -> str | None:
    """What names the sheet, where it is a workbook; archives do not mind."""
    if record.encoding != "workbook":
        return None
    return record.inside or record.path.rpartition(" | ")[2]
