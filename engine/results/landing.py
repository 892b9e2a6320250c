"""A file that appears whole or not at all, readable by its owner only. Or standard output."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from engine.errors import PlanError
from engine.language import _
from engine.terms import system_words

STANDARD_OUTPUT = Path("-")


@contextmanager
def landing(target: Path) -> Iterator[IO[bytes]]:
    """What the block writes is at `target` (0600) once the block has ended well; a file that stood there is replaced.

    - is standard output. Raises PlanError where it cannot be written, BrokenPipeError where nobody reads standard output any more.
    """
    if target != STANDARD_OUTPUT and target.is_dir():
        raise PlanError(_("{target} is a folder; name a file in it").format(target=target))
    try:
        with _standard_output() if target == STANDARD_OUTPUT else _taking_its_place(target) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        name = _("standard output") if target == STANDARD_OUTPUT else target
        raise PlanError(
            _("{target} cannot be written: {problem}").format(target=name, problem=system_words(error))
        ) from error


def _standard_output() -> IO[bytes]:
    """With a buffer of its own: what could not be written is not tried once more when the process ends."""
    return open(sys.stdout.fileno(), "wb", closefd=False)


@contextmanager
def _taking_its_place(target: Path) -> Iterator[IO[bytes]]:
    """A file that stands at `target` when the block has ended well."""
    file, name = _unseen(target)
    with file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            name = name or _named(file, target)
            os.replace(name, target)
            name = ""
        finally:
            if name:
                with suppress(OSError):
                    os.unlink(name)


def _unseen(target: Path) -> tuple[IO[bytes], str]:
    """A file in the target's folder without a name: whoever is killed leaves nothing behind. With one where that is not possible."""
    folder = target.parent
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except (AttributeError, OSError) as error:  # not Linux; or a file system without them
        if isinstance(error, OSError) and error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=folder)
        return os.fdopen(handle, "wb", buffering=1 << 20), name
    return os.fdopen(fd, "wb", buffering=1 << 20), ""


def _named(file: IO[bytes], target: Path) -> str:
    """Give the file a name beside the target, for the moment before it takes the target's place."""
    name = f"{target.parent / ('.' + target.name)}.{os.getpid()}.partial"
    with suppress(FileNotFoundError):
        os.unlink(name)
    fds = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # With a folder, Python asks for following.
        os.link(str(file.fileno()), name, src_dir_fd=fds, follow_symlinks=True)
    finally:
        os.close(fds)
    return name
