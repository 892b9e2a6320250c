"""One owner at a time, by a lock of the operating system: it ends with the process, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from engine.errors import JournalBusy, JournalError
from engine.journal.places import make_folder
from engine.language import _
from engine.terms import system_words

_ORPHAN_S = 5.0  # a commit takes milliseconds, on a slow disk a second
_LOOK_S = 0.005


class OwnerLock:
    """An exclusive lock on a small file that names its owner's process id. Raises JournalBusy with that id."""

    def __init__(self, path: Path, *, subject: str) -> None:
        handle = _open_private(path)
        try:
            _take(handle)
        except OSError as error:
            pids = _read_pids(handle)
            os.close(handle)
            raise _busy(pids, subject) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._handle: int | None = handle

    def fileno(self) -> int:
        """The descriptor that holds the lock. Who has it too holds the lock too, to its own end."""
        assert self._handle is not None
        return self._handle

    def shared_with(self, pid: int) -> None:
        """Name who holds the lock too, behind the owner."""
        os.pwrite(self.fileno(), f"{os.getpid()}\n{pid}\n".encode(), 0)

    def release(self) -> None:
        """Let go; again is nothing. The file stays: without it two owners could hold two different files of one name."""
        handle, self._handle = self._handle, None
        if handle is None:  # the number may be somebody else's file by now
            return
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
        os.close(handle)


def journal_lock(journal: Path) -> OwnerLock:
    """The lock beside a journal."""
    return OwnerLock(
        journal.with_name(journal.name + ".lock"), subject=_("the journal {journal}").format(journal=journal)
    )


def is_held(journal: Path) -> bool:
    """Whether a process owns the journal at this moment."""
    try:
        handle = os.open(journal.with_name(journal.name + ".lock"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def account_lock(state_folder: Path, account_key: str) -> OwnerLock:
    """The lock of a user and an account: two journals must not spend from, or poll, one account at once.

    It lies in the user's state folder: a cleaner of temporary files would remove it while it is held.
    """
    folder = state_folder / "accounts"
    make_folder(folder)
    return OwnerLock(folder / f"account-{account_key}.lock", subject=_("this gateway account with another journal"))


def _busy(pids: list[int], subject: str) -> JournalBusy:
    """`pids`: the owner's, then that of its writer, as far as they are known."""
    owner = pids[0] if pids else None
    if owner is not None and len(pids) > 1 and not _is_there(owner):
        left = _(
            "process {pid} still writes what the killed process {owner} gave it to {subject}; wait for it to end, or end it with: "
            "kill -KILL {pid}"
        )
        return JournalBusy(left.format(pid=pids[1], owner=owner, subject=subject), owner_pid=pids[1])
    who = _("process {pid}").format(pid=owner) if owner else _("another process")
    again = _("{who} is using {subject}; wait for it to end, or stop it with: kill -INT {pid}")
    return JournalBusy(again.format(who=who, subject=subject, pid=owner or "PID"), owner_pid=owner)


def _take(handle: int) -> None:
    """Take the lock. Where its owner was killed, wait for the writer it has left: that ends with what it is at."""
    end_s = time.monotonic() + _ORPHAN_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pids = _read_pids(handle)
            if not pids or _is_there(pids[0]) or time.monotonic() > end_s:
                raise
            time.sleep(_LOOK_S)
        else:
            return


def _is_there(pid: int) -> bool:
    """Whether it runs. One that was killed is listed until whoever started it has looked."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's, or a system that does not tell
        return True


def _open_private(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(
            _("cannot create {path} ({problem}); check that its folder is yours and writable").format(
                path=path, problem=system_words(error)
            )
        ) from error


def _read_pids(handle: int) -> list[int]:
    return [int(word) for word in os.pread(handle, 32, 0).split() if word.isdigit()]
