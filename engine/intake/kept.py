"""Copies of lists, kept compressed beside the journal, so that an export has the original columns when the list itself is gone.

A copy is named by the hash of the list: two campaigns of one list share it, and a copy is only what it says.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from engine.errors import IntakeError
from engine.intake.files import ListFile
from engine.intake.given import Given
from engine.language import _
from engine.terms import system_words

FOLDER_END = ".lists"
_PIECE_BYTES = 1 << 20
_QUICK = 1  # zlib's level: 60 MB of customers in 0.7 s, to a quarter of their size


def kept_folder(journal: Path) -> Path:
    """Where the copies of a journal's lists are."""
    return journal.with_name(journal.name + FOLDER_END)


def kept_copy(folder: Path, sha256: str) -> Path:
    """The copy of the list with this hash."""
    return folder / f"{sha256}.gz"


def keep(list_files: Sequence[ListFile], folder: Path) -> None:
    """Keep a copy of every file these lists are in (0600, complete or not at all); what is kept already stays.

    Raises IntakeError: no room, or the file was changed since it was read.
    """
    given = {each.sha256: each.contents.given for each in list_files}
    for sha256, each in given.items():
        if not kept_copy(folder, sha256).exists():
            _keep(each, sha256, folder)


def _keep(given: Given, sha256: str, folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp creates with 0600 in one step: at no moment can anybody else open it.
        handle, name = tempfile.mkstemp(prefix=".", suffix=".partial", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                _compress(given, file, sha256)
                file.flush()
                os.fsync(file.fileno())  # of standard input there may be no other
            os.replace(name, kept_copy(folder, sha256))
        except BaseException:  # the half copy goes, then it is raised on
            with suppress(OSError):
                os.unlink(name)
            raise
    except OSError as exc:
        raise IntakeError(
            _("no copy can be kept in {folder}: {problem}").format(folder=folder, problem=system_words(exc)),
            source=given.source,
        ) from exc


def _compress(given: Given, file: IO[bytes], sha256: str) -> None:
    digest = hashlib.sha256()
    with given.opened() as source, gzip.GzipFile(fileobj=file, mode="wb", compresslevel=_QUICK, mtime=0) as packed:
        while piece := source.read(_PIECE_BYTES):
            digest.update(piece)
            packed.write(piece)
    if digest.hexdigest() != sha256:
        raise IntakeError(_("was changed since it was read, and no copy of it is kept"), source=given.source)


class KeptList:
    """A kept copy, as the file that it is a copy of. It is unpacked into a file without a name, once."""

    def __init__(self, copy: Path, *, path: Path, source: Path | str) -> None:
        """`path` and `source` as the list was called when it was given. Raises IntakeError: damaged, no room to unpack it."""
        self.path, self.source = path, source
        self._copy = copy
        try:
            with tempfile.TemporaryFile() as unpacked:
                self.sha256 = self._unpack(unpacked)
                self.size = unpacked.tell()
                self._file = os.fdopen(os.dup(unpacked.fileno()), "rb", buffering=0)
        except (OSError, EOFError, zlib.error) as exc:
            raise IntakeError(
                _("the copy of the list cannot be read: {problem}").format(problem=exc), source=self._copy
            ) from exc

    def _unpack(self, unpacked: IO[bytes]) -> str:
        digest = hashlib.sha256()
        with gzip.open(self._copy) as packed:
            while piece := packed.read(_PIECE_BYTES):
                digest.update(piece)
                unpacked.write(piece)
        unpacked.flush()  # where the disk is full, it says so here at the latest
        return digest.hexdigest()

    def close(self) -> None:
        """Let go of the unpacked copy."""
        self._file.close()

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The bytes from the beginning."""
        self._file.seek(0)
        yield self._file

    def stamp(self) -> tuple[int, int]:
        """A copy does not change."""
        return self.size, 0
