"""A writer in a process of its own: it ends with its journal, however that ends, and nothing of it is left behind."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from engine.errors import ClaimLost, JournalBusy, JournalError
from engine.journal import lock
from engine.journal.lock import is_held, journal_lock
from engine.journal.opening import open_journal
from engine.journal.store import SqlJournal
from engine.journal.writer import ForkedWriter
from engine.telemetry import LogFile, _RotatingFile, logger
from tests.journal.stores import ApartPlace, accepted, claimed, intended, planned, states

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path: Path) -> ApartPlace:
    return ApartPlace(tmp_path)


def pid_of(journal: SqlJournal) -> int:
    assert isinstance(journal._writer, ForkedWriter)
    return journal._writer.pid


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def whose(connection: Connection, items: Sequence[None]) -> list[int]:
    return [os.getpid() for _ in items]


def wrong(connection: Connection, items: Sequence[None]) -> list[None]:
    connection.execute(text("UPDATE campaign SET extra = extra + 1"))
    raise ValueError("wrong")


async def test_a_journal_apart_is_written_by_another_process_that_ends_with_it(place: ApartPlace) -> None:
    async with place.open() as journal:
        pid = pid_of(journal)
        assert await journal._commits.do(whose, None) == pid != os.getpid()
    assert not is_there(pid)


async def test_it_holds_nothing_but_the_lock_and_its_socket(place: ApartPlace, tmp_path: Path) -> None:
    with (tmp_path / "foreign").open("w"):
        async with place.open() as journal:
            await planned(journal, 1)
            held = {os.readlink(f"/proc/{pid_of(journal)}/fd/{fd}") for fd in os.listdir(f"/proc/{pid_of(journal)}/fd")}
    assert str(tmp_path / "foreign") not in held
    ours = {str(place.path) + suffix for suffix in ("", "-wal", "-shm", ".lock")}
    assert {name for name in held if name.startswith(str(tmp_path))} == ours
    assert len([name for name in held if name.startswith("socket:")]) == 1
    assert not [name for name in held if name.startswith(("pipe:", "anon_inode:"))]


async def test_what_it_logs_stands_in_the_log_and_not_in_the_journal(place: ApartPlace, tmp_path: Path) -> None:
    log = tmp_path / "xinshi.log"
    handler = _RotatingFile(LogFile(path=log, level=logging.INFO, max_bytes=1 << 20, keep=1))
    logger.addHandler(handler)
    try:
        async with place.open() as journal:
            await planned(journal, 1)
            await journal._commits.do(telling, "from there")
            await planned(journal, 1, name="summer")
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert log.read_text().count("from there") == 1
    assert [row["integrity_check"] for row in place.rows("PRAGMA integrity_check")] == ["ok"]


def telling(_: Connection, words: Sequence[str]) -> list[None]:
    for each in words:
        logger.error(each)
    return [None] * len(words)


async def test_errors_come_back_as_they_were_raised(place: ApartPlace) -> None:
    async with place.open() as journal:
        campaign_id = await planned(journal, 1, 1)
        one, _ = await claimed(journal, campaign_id)
        await intended(journal, one)
        with pytest.raises(ClaimLost, match="batch 1 is not in the state"):
            await intended(journal, one)
        with pytest.raises(JournalError, match="could not be read or written"):
            await journal._commits.do(wrong, None)
        (record,) = await journal.campaigns()
        assert record.extra == 0


async def test_signals_that_come_to_the_whole_group_leave_it_at_work(place: ApartPlace) -> None:
    async with place.open() as journal:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid_of(journal), number)
        assert len(await claimed(journal, await planned(journal, 1))) == 1


async def test_a_writer_that_was_killed_is_told_and_the_next_owner_goes_on(place: ApartPlace) -> None:
    async with place.open() as journal:
        one, two = await claimed(journal, await planned(journal, 1, 1))
        submitted = await intended(journal, one)
        os.kill(pid_of(journal), signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(JournalError, match="run the command again"):
                await accepted(journal, submitted)
        with pytest.raises(JournalError, match="run the command again"):
            await intended(journal, two)
    async with place.open() as journal:
        assert states(place) == {1: "in_doubt", 2: "planned"}
        assert len(await claimed(journal, 1)) == 1


async def test_a_cancelled_look_at_the_answer_ends_the_talk(place: ApartPlace) -> None:
    """Else the next would take that answer for its own."""
    async with place.open() as journal:
        os.kill(pid_of(journal), signal.SIGSTOP)
        asked = asyncio.ensure_future(journal._writer.call(second, 7))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        os.kill(pid_of(journal), signal.SIGCONT)
        with pytest.raises(JournalError, match="run the command again"):
            await journal._writer.call(second, 8)


def second(_: object, item: int) -> int:
    return item


async def test_where_no_process_can_be_had_a_thread_writes(place: ApartPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", fork)
    async with place.open() as journal:
        assert await journal._commits.do(whose, None) == os.getpid()
        assert len(await claimed(journal, await planned(journal, 1))) == 1
    assert not is_held(place.path)


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from engine.journal.opening import open_journal

async def main():
    journal = await open_journal(Path(sys.argv[1]), apart=True)
    await journal.discard_campaign(7)  # its writer is at work, and has let go of our output
    os.kill(journal._writer.pid, signal.SIGSTOP)
    print(journal._writer.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def let_go_when_it_ends(place: ApartPlace, writer: int) -> None:
    """The lock is waited for while that writer stands still, and had when it has gone on to its end."""
    opening = asyncio.ensure_future(asyncio.to_thread(journal_lock, place.path))
    try:
        done, _ = await asyncio.wait({opening}, timeout=0.3)
        assert not done
    finally:
        os.kill(writer, signal.SIGCONT)
    (await opening).release()


async def test_the_lock_is_held_until_the_writer_of_a_killed_owner_has_ended(place: ApartPlace) -> None:
    """It may be in the middle of a commit."""
    words = [sys.executable, "-c", KILLED, str(place.path)]
    killed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    await let_go_when_it_ends(place, int(killed.stdout))
    async with place.open() as journal:
        assert journal.epoch == 2


async def test_the_writer_of_an_owner_that_nobody_has_looked_after_is_waited_for_too(place: ApartPlace) -> None:
    """A killed process stays listed until whoever started it asks for its end."""
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(place.path)], cwd=ROOT, stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        writer = int(child.stdout.readline())
        while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            await asyncio.sleep(0.01)
        await let_go_when_it_ends(place, writer)


async def test_who_cannot_wait_for_it_any_more_is_told_which_process_it_is(
    place: ApartPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_ORPHAN_S", 0.0)
    words = [sys.executable, "-c", KILLED, str(place.path)]
    killed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    writer = int(killed.stdout)
    try:
        with pytest.raises(JournalBusy, match=f"kill -KILL {writer}$") as refused:
            await open_journal(place.path, apart=True)
        assert refused.value.owner_pid == writer
    finally:
        os.kill(writer, signal.SIGKILL)
    monkeypatch.undo()
    async with place.open() as journal:
        assert journal.epoch == 2


async def test_the_lock_of_an_owner_that_lives_is_not_waited_for(
    place: ApartPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it waits"))
    async with place.open():
        with pytest.raises(JournalBusy):
            await open_journal(place.path, apart=True)
