"""A copy of the journal while it is being written to. It is whole, of one moment, and checked before it has its name."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from engine.crashing import passing
from engine.errors import JournalError, PlanError
from engine.journal.places import refuse_no_journal
from engine.language import _
from engine.terms import system_words

_PAGES_AT_ONCE = 2_000  # 8 MB: between two stretches the owner's commits go on
_SUFFIX = ".partial"


def back_up(journal: Path, target: Path) -> int:
    """Copy the journal to `target` (0600), which must not exist. Returns the copy's size in bytes.

    Raises PlanError where something is there already, JournalError: no journal, no room, or the copy is damaged.
    """
    refuse_no_journal(journal)
    if target.exists() or target.is_symlink():
        raise PlanError(
            _("{target} is there already; a backup overwrites nothing: name another file").format(target=target)
        )
    try:
        with _unfinished(target) as name:
            _copy(journal, name)
            os.link(name, target)  # unlike a rename it overwrites nothing that came meanwhile
        return target.stat().st_size
    except FileExistsError as error:
        raise PlanError(
            _("{target} is there already; a backup overwrites nothing: name another file").format(target=target)
        ) from error
    except (OSError, sqlite3.Error) as error:
        raise JournalError(
            _("the journal cannot be copied to {target} ({error})").format(target=target, error=error)
        ) from error


@contextmanager
def _unfinished(target: Path) -> Iterator[str]:
    """A file beside `target` for the block, hidden (SQLite needs a name); what killed backups to it have left is removed.

    Raises PlanError where none can be made there.
    """
    try:
        _remove_left(target)
        # mkstemp creates with 0600 in one step: at no moment can anybody else open it.
        handle, name = tempfile.mkstemp(prefix=_prefix(target), suffix=_SUFFIX, dir=target.parent)
    except OSError as error:
        raise PlanError(
            _("{target} cannot be written: {problem}").format(target=target, problem=system_words(error))
        ) from error
    try:
        with suppress(OSError):  # some file systems have none; then nobody takes it for left either
            fcntl.flock(handle, fcntl.LOCK_EX)  # as long as this lives; SQLite's locks are of another kind
        yield name
    finally:
        with suppress(OSError):
            os.unlink(name)
        os.close(handle)


def _prefix(target: Path) -> str:
    return f".{target.name}.backup-"


def _remove_left(target: Path) -> None:
    for each in list(target.parent.iterdir()):
        if each.name.startswith(_prefix(target)) and each.name.endswith(_SUFFIX) and _is_left(each):
            for suffix in ("-journal", "-wal", "-shm", ""):
                with suppress(OSError):
                    os.unlink(f"{each}{suffix}")


def _is_left(unfinished: Path) -> bool:
    """Whether nobody is at it any more. One that has not got its lock yet is empty."""
    try:
        with unfinished.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.fstat(file.fileno()).st_size > 0
    except OSError:
        return False


def _copy(journal: Path, name: str) -> None:
    with (
        closing(sqlite3.connect(f"file:{quote(str(journal))}?mode=ro", uri=True, timeout=10)) as old,
        closing(sqlite3.connect(name)) as new,
    ):
        # In a transaction that only reads: the copy is of one moment, and need not begin anew whenever the owner writes.
        old.execute("BEGIN")
        old.execute("SELECT count(*) FROM sqlite_master").fetchone()
        old.backup(new, pages=_PAGES_AT_ONCE, progress=lambda *_: passing("part of a backup copied"))
        new.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        problems = [str(words) for (words,) in new.execute("PRAGMA integrity_check(5)") if words != "ok"]
        if problems:
            raise JournalError(_("the copy of the journal is damaged: {problems}").format(problems="; ".join(problems)))
    with open(name, "rb") as copied:
        os.fsync(copied.fileno())
