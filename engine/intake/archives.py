"""Lists inside .gz and .zip: unpacked while they are read, never onto the disk.

A bound on what comes out stops archives that were made to fill a machine. zipfile reads at most the size a member declares,
and its checksum then has to fit, so the declared sizes can be added up before anything is unpacked.
"""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path, PurePosixPath

from engine.errors import IntakeError
from engine.intake.given import Given, Readable
from engine.language import _

MOST_UNPACKED_BYTES = 4 << 30  # fifty million rows of customers; above it, somebody is not sending us a list
MOST_MEMBERS = 1_000
LIST_NAMES = (".csv", ".tsv", ".tab", ".txt")

_IS_ENCRYPTED = 0x1
_NAME_IS_UTF8 = 0x800
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what everybody writes, and every Python reads
_DAMAGED = (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, ValueError, zlib.error, struct.error)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in a folder or archive that is not read, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Gzipped:
    """The list in a .gz."""

    given: Given
    inside: str = ""
    most_bytes: int = MOST_UNPACKED_BYTES

    @property
    def source(self) -> Path | str:
        return self.given.source

    @contextmanager
    def opened(self) -> Iterator[Readable]:
        with self.given.opened() as file, gzip.GzipFile(fileobj=file) as unpacked:
            yield _Unpacking(unpacked, self.source, _("gzip archive"), self.most_bytes)


@dataclass(frozen=True, slots=True)
class Member:
    """A list in a .zip. `index` is its place in the archive: names may repeat. `inside`: its name as people read it."""

    given: Given
    index: int
    inside: str

    @property
    def source(self) -> str:
        return _("{source}, file {inside}").format(source=self.given.source, inside=self.inside)

    @contextmanager
    def opened(self) -> Iterator[Readable]:
        with _archive(self.given) as archive:
            try:
                file = archive.open(archive.infolist()[self.index])
            except (*_DAMAGED, IndexError) as exc:
                raise _damaged(_("zip archive"), self.source) from exc
            except (NotImplementedError, RuntimeError) as exc:  # RuntimeError: encrypted, found out only here
                raise IntakeError(
                    _("cannot be unpacked here ({problem}): unpack it and give the files").format(problem=exc),
                    source=self.source,
                ) from exc
            with file:
                yield _Unpacking(file, self.source, _("zip archive"))


class _Unpacking:
    """Bytes out of an archive: damage becomes an IntakeError, and there is an end to them."""

    def __init__(self, file: Readable, source: Path | str, what: str, most_bytes: int = MOST_UNPACKED_BYTES) -> None:
        self._file, self._source, self._what, self._left = file, source, what, most_bytes

    def read(self, size: int, /) -> bytes:
        try:
            piece = self._file.read(size)
        except _DAMAGED as exc:
            raise _damaged(self._what, self._source) from exc
        self._left -= len(piece)
        if self._left < 0:
            raise too_large(self._source)
        return piece


def members(given: Given) -> tuple[list[Member], list[Skipped]]:
    """The lists in a .zip by name, and what else is in it. Raises IntakeError: encrypted, damaged, too large, no list in it."""
    with _archive(given) as archive:
        infos = archive.infolist()
    files = {at: _name_of(info) for at, info in enumerate(infos) if not info.filename.endswith("/")}
    if len(files) > MOST_MEMBERS:
        raise IntakeError(
            _("the archive holds {count:,} files; at most {most:,}").format(count=len(files), most=MOST_MEMBERS),
            source=given.source,
        )
    shown = {at: name for at, name in files.items() if not is_hidden(name)}
    # One file alone is the list, whatever it is called.
    lists = {at: name for at, name in shown.items() if len(shown) == 1 or is_list_name(name)}
    if not lists:
        inside = ", ".join([*shown.values()][:5]) or _("nothing")
        raise IntakeError(
            _("no CSV file is in the archive, but {inside}: unpack it and give the list").format(inside=inside),
            source=given.source,
        )
    _refuse_locked([infos[at] for at in lists], given.source)
    skipped = [
        Skipped(
            _("{source}, file {name}").format(source=given.source, name=name),
            _("not a CSV, TSV or text file") if at in shown else _("hidden"),
        )
        for at, name in files.items()
        if at not in lists
    ]
    return [Member(given, at, name) for at, name in sorted(lists.items(), key=itemgetter(1))], skipped


def _refuse_locked(infos: Sequence[zipfile.ZipInfo], source: Path | str) -> None:
    """Raises IntakeError for what cannot be unpacked, before a byte of it is."""
    if any(info.flag_bits & _IS_ENCRYPTED for info in infos):
        raise IntakeError(_("the archive is encrypted: unpack it with its password and give the files"), source=source)
    if any(info.compress_type not in _METHODS for info in infos):
        raise IntakeError(
            _("packed by a method that only some programs know: pack it again as an ordinary zip, or unpack it"),
            source=source,
        )
    if sum(info.file_size for info in infos) > MOST_UNPACKED_BYTES:
        raise too_large(source)


def sizes(given: Given) -> dict[str, int]:
    """The names in a .zip, and how many bytes each declares. Raises IntakeError where it is damaged."""
    with _archive(given) as archive:
        return {info.filename: info.file_size for info in archive.infolist()}


def is_hidden(name: str) -> bool:
    """Files that people do not see: of a Mac (._name, __MACOSX), of an open Excel (~$name), and .anything."""
    path = PurePosixPath(name)
    return path.name.startswith("~$") or any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def is_list_name(name: str) -> bool:
    return name.casefold().endswith(LIST_NAMES)


def too_large(source: Path | str) -> IntakeError:
    return IntakeError(
        _("unpacks to more than {most} GiB, which is more than any list of people: split it").format(
            most=MOST_UNPACKED_BYTES >> 30
        ),
        source=source,
    )


def _name_of(info: zipfile.ZipInfo) -> str:
    """The member's name, fit to be shown."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in _decoded_name(info))


def _decoded_name(info: zipfile.ZipInfo) -> str:
    """Without the flag for UTF-8 it is whatever its writer used: in China mostly GBK, never cp437."""
    if info.flag_bits & _NAME_IS_UTF8:
        return info.filename
    try:
        raw = info.filename.encode("cp437")
    except UnicodeEncodeError:  # the archive has a Unicode name in an extra field
        return info.filename
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.filename


@contextmanager
def _archive(given: Given) -> Iterator[zipfile.ZipFile]:
    with given.opened() as file:
        try:
            archive = zipfile.ZipFile(file)
        except (*_DAMAGED, NotImplementedError) as exc:
            raise _damaged(_("zip archive (or Excel workbook)"), given.source) from exc
        with archive:
            yield archive


def _damaged(what: str, source: Path | str) -> IntakeError:
    return IntakeError(
        _("a damaged or incomplete {what}: ask for it again, or unpack it and give the list").format(what=what),
        source=source,
    )
