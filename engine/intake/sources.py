"""What the operator names — files, folders, archives, workbooks, standard input — as lists, in one order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import IntakeError
from engine.intake.archives import (
    LIST_NAMES,
    MOST_UNPACKED_BYTES,
    Gzipped,
    Skipped,
    is_hidden,
    members,
    sizes,
    too_large,
)
from engine.intake.files import ListFile, examined, hash_of
from engine.intake.given import STANDARD_INPUT, Content, Given, GivenFile, Plain, StandardInput
from engine.intake.sheets import Sheet, chosen, is_workbook
from engine.language import _
from engine.terms import system_words

_IN_FOLDERS = (*LIST_NAMES, ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".gz", ".zip")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # with members, and without
_OLE = b"\xd0\xcf\x11\xe0"  # .xls, and workbooks with a password
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """The lists of an order, in the order in which they are read, and what in folders and archives is not read."""

    list_files: list[ListFile]
    skipped: list[Skipped]


def inspect(
    path: Path, *, column: str | None = None, encoding: str | None = None, sheet: str | None = None
) -> ListFile:
    """Find out everything `read` needs about one list, without keeping a row.

    `path`: CSV of any delimiter, also in a .gz or .zip, a workbook, or - for standard input. `column`: header name or 1-based
    index; `encoding`: a Python codec name; `sheet`: name or 1-based place; None: found out, or refused when in doubt.
    Raises IntakeError: missing, empty, a folder, several lists, binary, damaged, undecodable (with the line), no or two number
    columns.
    """
    contents = contents_of(_given(path, 0), sheet)[0]
    if len(contents) > 1:
        inside = ", ".join(content.inside for content in contents[:5])
        raise IntakeError(
            _("{count} lists are in the archive ({inside} …): unpack it and give one").format(
                count=len(contents), inside=inside
            ),
            source=path,
        )
    _refuse_idle_sheet(contents, sheet)
    return examined(contents[0], column=column, encoding=encoding)


def inspect_all(
    paths: Sequence[Path],
    *,
    column: str | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
    stdin_fd: int = 0,
) -> Inspected:
    """The same for several files and folders: their lists in the order given, those of a folder or archive by name.

    Not recursive. Raises IntakeError as `inspect`, for a folder without a list, and for standard input named twice.
    """
    if list(paths).count(STANDARD_INPUT) > 1:
        raise IntakeError(_("named twice, and can be read only once"), source="standard input")
    contents: list[Content | Sheet] = []
    skipped: list[Skipped] = []
    for path in paths:
        for given in _expanded(path, skipped, stdin_fd):
            inside, left_out = contents_of(given, sheet)
            contents += inside
            skipped += left_out
    _refuse_idle_sheet(contents, sheet)
    hashes: dict[Path, str] = {}  # of archives, whose lists share it
    return Inspected(list_files=[_examined(content, column, encoding, hashes) for content in contents], skipped=skipped)


def _examined(content: Content | Sheet, column: str | None, encoding: str | None, hashes: dict[Path, str]) -> ListFile:
    path = content.given.path
    if not isinstance(content, Plain) and path not in hashes:
        hashes[path] = hash_of(content.given)
    return examined(content, column=column, encoding=encoding, sha256=hashes.get(path))


def _given(path: Path, stdin_fd: int) -> Given:
    return StandardInput(stdin_fd) if path == STANDARD_INPUT else GivenFile(path)


def _expanded(path: Path, skipped: list[Skipped], stdin_fd: int) -> Iterator[Given]:
    """The files of a folder, or the file itself. What is left out goes to `skipped`."""
    if path == STANDARD_INPUT or not os.path.isdir(path):  # Path.is_dir raises where a folder above is closed to us
        yield _given(path, stdin_fd)
        return
    try:
        entries = sorted(path.iterdir(), key=lambda entry: entry.name)
    except OSError as exc:
        raise IntakeError(
            _("the folder cannot be read: {problem}").format(problem=system_words(exc)), source=path
        ) from exc
    reasons = {entry: _why_not(entry) for entry in entries}
    skipped += [Skipped(str(entry), why) for entry, why in reasons.items() if why]
    lists = [entry for entry, why in reasons.items() if not why]
    if not lists:
        raise IntakeError(
            _("this is a folder without a list: none of its {count} entries is a file called {names}").format(
                count=len(entries), names=", ".join(_IN_FOLDERS)
            ),
            source=path,
        )
    yield from map(GivenFile, lists)


def _why_not(entry: Path) -> str:
    if is_hidden(entry.name):
        return _("hidden")
    if os.path.isdir(entry):
        return _("a folder in the folder")
    return "" if entry.name.casefold().endswith(_IN_FOLDERS) else _("not called like a list")


def contents_of(given: Given, sheet: str | None) -> tuple[list[Content | Sheet], list[Skipped]]:
    """The lists in a file, by what it is, never by what it is called."""
    with given.opened() as file:
        head = file.read(8)
    if head.startswith(_ZIP):
        inside = sizes(given)
        if is_workbook(inside, given.source):
            if sum(inside.values()) > MOST_UNPACKED_BYTES:
                raise too_large(given.source)
            return [chosen(given, sheet)], []
        lists, skipped = members(given)
        return [*lists], skipped
    if head.startswith(_OLE):
        return [chosen(given, sheet)], []
    return [Gzipped(given) if head.startswith(_GZIP) else Plain(given)], []


def _refuse_idle_sheet(contents: Sequence[Content | Sheet], sheet: str | None) -> None:
    """A sheet was named, and no workbook has any: somebody means another file."""
    if sheet is not None and contents and not any(isinstance(content, Sheet) for content in contents):
        raise IntakeError(_("--sheet names a sheet of a workbook, and this is none"), source=contents[0].source)
