"""What the operator gave: a file, or standard input kept in a file without a name. Bytes that can be read more than once.

A list is read twice (inspected, then read) and hashed, so what can be read only once is copied first.
"""

from __future__ import annotations

import io
import os
import select
import stat
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from engine.errors import IntakeError
from engine.language import N_, _
from engine.terms import system_words

STANDARD_INPUT = Path("-")
_PIECE_BYTES = 1 << 20


class Readable(Protocol):
    """Bytes from the beginning to the end, once."""

    def read(self, size: int, /) -> bytes: ...


class Given(Protocol):
    """A file as it was given."""

    @property
    def path(self) -> Path: ...

    @property
    def source(self) -> Path | str:
        """How errors and pages call it."""

    def opened(self) -> AbstractContextManager[IO[bytes]]:
        """The bytes from the beginning, seekable. Raises IntakeError, also for what fails while it is open."""

    def stamp(self) -> tuple[int, int]:
        """Size in bytes and time of change in ns: another stamp, another file. Raises IntakeError."""


class Content(Protocol):
    """The bytes of one list of text, unpacked. Pickles, and can be opened again and again."""

    @property
    def given(self) -> Given: ...

    @property
    def source(self) -> Path | str:
        """How errors and pages call it."""

    @property
    def inside(self) -> str:
        """The archive's member, "" where the list is the whole file."""

    def opened(self) -> AbstractContextManager[Readable]:
        """The bytes from the beginning. Raises IntakeError, also for what fails while it is open."""


@dataclass(frozen=True, slots=True)
class GivenFile:
    """A file on disk."""

    path: Path

    @property
    def source(self) -> Path:
        return self.path

    def opened(self) -> AbstractContextManager[IO[bytes]]:
        return opened(self.path)

    def stamp(self) -> tuple[int, int]:
        with self.opened() as file:
            status = os.fstat(file.fileno())
        return status.st_size, status.st_mtime_ns


class StandardInput:
    """What came on standard input. Its copy has no name (0600 while it had one), so it is gone with the process, however that ends.

    The copy stands in the folder for temporary files (TMPDIR) and needs as much room as came in.
    """

    path = STANDARD_INPUT
    source = N_("standard input")

    def __init__(self, fd: int) -> None:
        """Read `fd` to its end. Raises IntakeError: closed, nothing came, no room for the copy."""
        self.size = 0
        self._fd: int | None = None
        try:
            with tempfile.TemporaryFile(buffering=0) as copy:
                self._fill(copy, fd)
                kept = os.dup(copy.fileno())
        except OSError as exc:
            raise IntakeError(
                _("cannot be read and kept: {problem}").format(problem=system_words(exc)), source=self.source
            ) from exc
        self._fd = kept
        weakref.finalize(self, os.close, kept)  # the copy goes when nobody can read it any more
        if not self.size:
            raise IntakeError(_("nothing came: pipe the list into the command"), source=self.source)

    def _fill(self, copy: IO[bytes], fd: int) -> None:
        while piece := _waited_for(fd):
            self.size += len(piece)
            left = memoryview(piece)
            while left:
                left = left[copy.write(left) :]

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process knows what it was, but cannot read it."""
        return _elsewhere, (self.size,)

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        if self._fd is None:
            raise IntakeError(_("was read already, and can be read only once"), source=self.source)
        with _mapped(self.source):
            # Own positions on one open file: whoever reads the copy again does not move another reader.
            yield io.BufferedReader(_At(self._fd), _PIECE_BYTES)

    def stamp(self) -> tuple[int, int]:
        return self.size, 0


def _elsewhere(size: int) -> StandardInput:
    was = object.__new__(StandardInput)
    was.size, was._fd = size, None
    return was


def _waited_for(fd: int) -> bytes:
    while True:
        try:
            return os.read(fd, _PIECE_BYTES)
        except BlockingIOError:  # whoever started us made the pipe non-blocking
            select.select([fd], [], [])


class _At(io.RawIOBase):
    """A reader of an open file with a position of its own."""

    def __init__(self, fd: int) -> None:
        self._fd, self._at = fd, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def readinto(self, buffer: Any) -> int:  # typeshed's name for it is no module at run time
        given = os.preadv(self._fd, [buffer], self._at)
        self._at += given
        return given

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: os.fstat(self._fd).st_size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file, open for reading. Raises IntakeError where there is no regular file with something in it."""
    try:
        # Not blocking: opening a pipe would wait for its writer.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)
    except (FileNotFoundError, ValueError) as exc:  # ValueError: a NUL in the name
        raise IntakeError(_("there is no such file"), source=path) from exc
    except IsADirectoryError as exc:
        raise IntakeError(_("this is a folder, not a file"), source=path) from exc
    except OSError as exc:
        raise IntakeError(_("cannot be opened: {problem}").format(problem=system_words(exc)), source=path) from exc
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise IntakeError(
                _(
                    "not a regular file, and a list is read twice: save it to a file first, or pipe it into the command and "
                    "name it -"
                ),
                source=path,
            )
        if status.st_size == 0:
            raise IntakeError(_("the file is empty"), source=path)
        with _mapped(path):
            yield file


@contextmanager
def _mapped(source: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise IntakeError(_("cannot be read: {problem}").format(problem=system_words(exc)), source=source) from exc


@dataclass(frozen=True, slots=True)
class Plain:
    """A list that is the file itself."""

    given: Given
    inside: str = ""

    @property
    def source(self) -> Path | str:
        return self.given.source

    def opened(self) -> AbstractContextManager[Readable]:
        return self.given.opened()
