"""One owner at a time, private files, and words for every trouble."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from engine.errors import JournalBusy, JournalError, SchemaMismatch
from engine.journal.faults import journal_error
from engine.journal.lock import OwnerLock, account_lock, is_held, journal_lock
from engine.journal.opening import open_journal, read_journal
from engine.journal.store import SqlJournal
from tests.journal.stores import Place, SqlitePlace, claimed, intended, outcomes, planned, states

ROOT = Path(__file__).parents[2]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@contextmanager
def process(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A Python of its own, killed at the end at the latest."""
    child = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


HOLD = """
import sys, time
from pathlib import Path
from engine.journal.lock import journal_lock
lock = journal_lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(1000)
"""


# ── the lock ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_journal_held_by_another_process_is_refused_with_its_pid(place: SqlitePlace) -> None:
    async with place.open() as journal:
        await planned(journal, 1)
    with process("-c", HOLD, place.path) as child:
        assert said(child) == "held"
        assert is_held(place.path)
        with pytest.raises(JournalBusy, match=f"process {child.pid} is using the journal") as refused:
            await open_journal(place.path)
        assert refused.value.owner_pid == child.pid
        async with place.look() as beside:  # looking is allowed
            assert len(await beside.campaigns()) == 1
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert not is_held(place.path)
        async with place.open() as journal:
            assert journal.epoch == 2


async def test_a_second_owner_in_one_process_is_refused_too(place: SqlitePlace) -> None:
    async with place.open():
        with pytest.raises(JournalBusy) as refused:
            await open_journal(place.path)
        assert refused.value.owner_pid == os.getpid()
        assert is_held(place.path)
    assert not is_held(place.path)


async def test_a_refused_owner_takes_nothing_over(place: SqlitePlace) -> None:
    async with place.open() as journal:
        campaign_id = await planned(journal, 1, 1)
        one, _ = await claimed(journal, campaign_id)
        await intended(journal, one)
        with pytest.raises(JournalBusy):
            await open_journal(place.path)
        assert states(place) == {1: "submitting", 2: "claimed"}


async def test_an_opening_that_fails_lets_the_lock_go(place: SqlitePlace) -> None:
    place.path.write_bytes(b"no database at all" * 100)
    for _ in range(2):  # the second would be JournalBusy
        with pytest.raises(JournalError, match="not a journal"):
            await open_journal(place.path)
    assert not is_held(place.path)


def test_a_lock_is_released_once_and_no_foreign_file_is_closed(tmp_path: Path) -> None:
    lock = OwnerLock(tmp_path / "a.lock", subject="it")
    lock.release()
    with (tmp_path / "foreign").open("w") as foreign:
        lock.release()
        foreign.write("still open")
    assert (tmp_path / "foreign").read_text() == "still open"


def test_an_account_is_locked_across_journals(tmp_path: Path) -> None:
    lock = account_lock(tmp_path, "abc")
    try:
        with pytest.raises(JournalBusy, match="this gateway account"):
            account_lock(tmp_path, "abc")
        account_lock(tmp_path, "xyz").release()
    finally:
        lock.release()
    account_lock(tmp_path, "abc").release()


def test_looking_whether_a_journal_is_held_does_not_hold_it(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "none.db")
    journal_lock(tmp_path / "a.db").release()
    assert not is_held(tmp_path / "a.db")
    journal_lock(tmp_path / "a.db").release()


async def test_what_was_said_to_be_done_is_on_the_disk_after_kill_nine(place: SqlitePlace) -> None:
    with process("-m", "tests.journal.owner", place.path, *(["apart"] if place.apart else [])) as child:
        lines = []
        while not lines or lines[-1] != "accepted 151":
            lines.append(said(child))
            assert lines[-1]
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert child.stdout is not None
        lines += child.stdout.read().splitlines()
    intents, acceptances = (
        {int(line.split()[1]) for line in lines if line.startswith(word)} for word in ("intended", "accepted")
    )
    async with place.open() as journal:
        after = states(place)
        assert {after[seq] for seq in acceptances} == {"accepted"}
        silent = max(intents) if max(intents) not in acceptances else 0  # its answer may be stored, and was not told
        assert {after[seq] for seq in intents - acceptances - {silent}} == {"in_doubt"}
        assert {after[seq] for seq in range(max(intents) + 2, 2_001)} == {"planned"}
        assert after.get(silent) in {None, "in_doubt", "accepted"}
        assert all(outcome is not None for _, _, outcome in outcomes(place))
        assert journal.epoch == 2


# ── the files ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_journal_lock_and_log_are_private(tmp_path: Path) -> None:
    path = tmp_path / "state" / "xinshi" / "xinshi.db"
    before = os.umask(0)
    try:
        journal = await open_journal(path)
    finally:
        os.umask(before)
    try:
        await planned(journal, 1)
        files = {file.name: mode(file) for file in path.parent.iterdir()}
        assert files == dict.fromkeys(("xinshi.db", "xinshi.db-wal", "xinshi.db-shm", "xinshi.db.lock"), 0o600)
        assert mode(path.parent) == 0o700
        lock = account_lock(tmp_path / "state", "abc")
        lock.release()
        assert mode(tmp_path / "state" / "accounts" / "account-abc.lock") == 0o600
    finally:
        await journal.close()


@pytest.mark.parametrize("name", ["a b", "100%", "50%25", "a#b", "a?b", "a?mode=memory", "企业信使", "a&b='c'"])
async def test_a_journal_may_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    place = SqlitePlace(tmp_path / name)
    async with place.open() as journal:
        await planned(journal, 1)
        assert len(await journal.campaigns()) == 1
    assert place.path.stat().st_size > 0
    async with place.look() as beside:
        assert len(await beside.campaigns()) == 1


def pragmas(connection: Connection, items: Sequence[str]) -> list[object]:
    return [connection.exec_driver_sql(f"PRAGMA {item}").scalar() for item in items]


async def test_the_writing_connection_is_durable(journal: SqlJournal) -> None:
    names = ("journal_mode", "synchronous", "foreign_keys")
    assert [await journal._commits.do(pragmas, name) for name in names] == ["wal", 2, 1]


async def test_a_look_cannot_write(place: Place, journal: SqlJournal) -> None:
    await planned(journal, 1)
    async with place.look() as beside:
        for reader in (journal, beside):
            async with reader._reader.connect() as connection:
                with pytest.raises(DBAPIError, match="readonly"):
                    await connection.execute(text("DELETE FROM batch"))


async def test_a_look_where_no_journal_is_says_so_and_creates_none(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal"):
        await read_journal(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_cannot_be_used_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="cannot create the folder"):
        await open_journal(tmp_path / "file" / "xinshi.db")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(JournalError, match="cannot write the journal"):
        await open_journal(tmp_path / "folder.db")
    with pytest.raises(JournalError, match="there is no journal"):
        await read_journal(tmp_path / "folder.db")


# ── trouble ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_file_that_is_no_journal_is_neither_opened_nor_changed(place: SqlitePlace) -> None:
    content = b"name,mobile\n" * 500
    place.path.write_bytes(content)
    for way in (open_journal, read_journal):
        with pytest.raises(JournalError, match="not a journal"):
            await way(place.path)
    assert place.path.read_bytes() == content


async def test_a_database_of_another_program_is_left_alone(place: SqlitePlace) -> None:
    with closing(sqlite3.connect(place.path)) as raw:
        raw.execute("CREATE TABLE campaign (id INTEGER PRIMARY KEY)")
        raw.commit()
    with pytest.raises(JournalError, match="another program"):
        await open_journal(place.path)
    assert place.rows("SELECT name FROM sqlite_master") == [{"name": "campaign"}]
    with pytest.raises(SchemaMismatch):
        await read_journal(place.path)


async def test_an_empty_file_becomes_a_journal(place: SqlitePlace) -> None:
    place.path.touch(mode=0o600)
    with pytest.raises(SchemaMismatch, match="no journal yet"):
        await read_journal(place.path)
    async with place.open() as journal:
        assert await journal.campaigns() == []


async def test_a_damaged_journal_is_said_in_words(place: SqlitePlace) -> None:
    async with place.open() as journal:
        campaign_id = await planned(journal, *[50] * 200)
    content = bytearray(place.path.read_bytes())
    content[3 * 4096 :] = b"\xff" * (len(content) - 3 * 4096)
    place.path.write_bytes(bytes(content))
    with pytest.raises(JournalError, match="damaged"):
        async with place.look() as beside:
            await beside.counts(campaign_id)
    with pytest.raises(JournalError, match="damaged"):
        await open_journal(place.path)
    assert not is_held(place.path)


async def test_a_foreign_writer_is_waited_for_and_then_named(place: SqlitePlace) -> None:
    async with place.open() as journal:
        campaign_id = await planned(journal, 1)
    journal = await open_journal(place.path, busy_s=0.05)
    try:
        with closing(sqlite3.connect(place.path, isolation_level=None)) as raw:
            raw.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalBusy, match="another program is writing"):
                await claimed(journal, campaign_id)
            assert len(await journal.campaigns()) == 1  # looking goes on
            raw.execute("ROLLBACK")
        assert len(await claimed(journal, campaign_id)) == 1
    finally:
        await journal.close()
    with closing(sqlite3.connect(place.path, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalBusy, match="another program is writing"):
            await open_journal(place.path, busy_s=0.05)
    assert not is_held(place.path)


async def test_a_short_wait_for_a_foreign_writer_is_no_trouble(place: SqlitePlace) -> None:
    async with place.open() as journal:
        campaign_id = await planned(journal, 1)
        with closing(sqlite3.connect(place.path, isolation_level=None, check_same_thread=False)) as raw:
            raw.execute("BEGIN IMMEDIATE")
            claims = asyncio.create_task(claimed(journal, campaign_id))
            await asyncio.sleep(0)
            raw.execute("COMMIT")
            assert len(await claims) == 1


def limit_pages(connection: Connection, items: Sequence[int]) -> list[None]:
    used = connection.exec_driver_sql("PRAGMA page_count").scalar()
    for more in items:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {used + more}")
    return [None] * len(items)


async def test_a_full_disk_is_said_in_words_and_nothing_is_half_written(place: Place, journal: SqlJournal) -> None:
    await planned(journal, 1)
    await journal._commits.do(limit_pages, 2)
    with pytest.raises(JournalError, match="no space is left"):
        await planned(journal, *[1_000] * 20, name="too large")
    await journal._commits.do(limit_pages, 1_000)
    assert [record.name for record in await journal.campaigns()] == ["spring"]
    assert len(states(place)) == 1
    assert len(await claimed(journal, 1)) == 1


def forbid_writes(writer: Engine, forbidden: bool) -> None:
    connection = writer.raw_connection()
    connection.cursor().execute(f"PRAGMA query_only = {int(forbidden)}")
    connection.close()


async def test_a_journal_that_became_read_only_is_said_in_words(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1)
    await journal._writer.call(forbid_writes, True)
    with pytest.raises(JournalError, match="read-only"):
        await claimed(journal, campaign_id)
    await journal._writer.call(forbid_writes, False)
    assert len(await claimed(journal, campaign_id)) == 1


SAID = [
    ("database is locked", JournalBusy, "another program is writing"),
    ("database or disk is full", JournalError, "no space"),
    ("attempt to write a readonly database", JournalError, "read-only"),
    ("disk I/O error", JournalError, "the disk of the journal"),
    ("unable to open database file", JournalError, "cannot be opened"),
    ("file is not a database", JournalError, "not a journal"),
    ("database disk image is malformed", JournalError, "damaged"),
    ("something new", JournalError, "could not be read or written"),
    ("", JournalError, "could not be read or written"),
]


@pytest.mark.parametrize(("original", "kind", "words"), [pytest.param(*case, id=case[0] or "nothing") for case in SAID])
def test_what_the_database_says_is_told_in_our_words(original: str, kind: type[JournalError], words: str) -> None:
    error = DBAPIError("SELECT secret", {"content": "text"}, sqlite3.OperationalError(original))
    told = journal_error(error)
    assert type(told) is kind
    assert words in str(told)
    assert (original or "no reason given") in str(told)
    assert "secret" not in str(told)
    assert "text" not in str(told)


async def test_a_look_sees_one_moment_however_much_it_asks(journal: SqlJournal) -> None:
    await planned(journal, 2, 3)
    async with journal._look() as connection:
        first = (await connection.execute(text("SELECT count(*) FROM batch"))).scalar()
        await planned(journal, 4, name="autumn")
        assert (await connection.execute(text("SELECT count(*) FROM batch"))).scalar() == first == 2
    async with journal._look() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM batch"))).scalar() == 3
