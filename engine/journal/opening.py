"""Opens a journal: to own it and write, or to look.

One connection writes; everybody else, the owner's own looks included, reads with `mode=ro`. SQLite before 3.51.3 can
damage its write-ahead log when two connections write.
"""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from engine.clock import SteadyClock, boot_id
from engine.errors import JournalError
from engine.journal import writes
from engine.journal.faults import journal_error
from engine.journal.lock import OwnerLock, journal_lock
from engine.journal.migrate import bring_up_to_date, refuse_newer
from engine.journal.places import make_folder, refuse_no_journal
from engine.journal.store import Reader, SqlJournal
from engine.journal.writer import ForkedWriter, ThreadedWriter, Writer, may_fork
from engine.language import _
from engine.terms import system_words

BUSY_S = 2.0


async def open_journal(
    path: Path, *, busy_s: float = BUSY_S, clock: SteadyClock | None = None, apart: bool = False
) -> SqlJournal:
    """Own the journal at `path`, creating or migrating it first. What an earlier owner left half done is put in order.

    `apart`: write from a process of its own, where this one may be forked: who opens it must have no threads of somebody else.

    A foreign program that writes to the file is waited for up to `busy_s` seconds a statement. `clock` is made to go on where
    the last owner's was.
    Raises JournalBusy (with the owner's pid), SchemaMismatch, JournalError.
    """
    make_folder(path.parent)
    async with AsyncExitStack() as undo:
        lock = journal_lock(path)
        undo.callback(lock.release)
        _make_file(path)
        connect = partial(_writing_engine, path, busy_s)
        writer: Writer = ThreadedWriter(connect)
        undo.push_async_callback(writer.close)
        owner = f"{socket.gethostname()}:{os.getpid()}"
        epoch = await writer.call(_put_in_order, (path, owner, clock or SteadyClock()))
        if apart and may_fork():
            await writer.close()  # nothing of SQLite's may be open where a process forks
            writer = await _forked(connect, lock)
        undo.pop_all()
    return SqlJournal(writer, _reading_engine(path), owner=owner, epoch=epoch, lock=lock)


async def _forked(connect: Callable[[], Engine], lock: OwnerLock) -> Writer:
    try:
        forked = await ForkedWriter.fork(connect, keeping=lock.fileno())
    except OSError:  # no more processes; a thread does it more slowly
        return ThreadedWriter(connect)
    lock.shared_with(forked.pid)
    return forked


def _put_in_order(writer: Engine, opening: tuple[Path, str, SteadyClock]) -> int:
    """Bring the schema up to date and become the owner. Returns the new epoch."""
    path, owner, clock = opening
    try:
        bring_up_to_date(writer, path)
        with writer.begin() as connection:
            return writes.take_over(connection, name=owner, clock=clock, boot_id=boot_id())
    except SQLAlchemyError as error:
        raise journal_error(error) from error


async def read_journal(path: Path) -> Reader:
    """Look into the journal at `path` without owning it. Raises JournalError when there is none."""
    refuse_no_journal(path)
    reader = _reading_engine(path)
    try:
        await refuse_newer(reader, path)
    except SQLAlchemyError as error:
        await reader.dispose()
        raise journal_error(error) from error
    except BaseException:  # closed, then raised on
        await reader.dispose()  # an open connection would keep the process from ending
        raise
    return Reader(reader)


def _make_file(path: Path) -> None:
    # SQLite would create it readable by everybody; its -wal and -shm files take over the mode of this one.
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise JournalError(
            _("cannot write the journal {path} ({problem})").format(path=path, problem=system_words(error))
        ) from error


def _writing_engine(path: Path, busy_s: float) -> Engine:
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_reset_on_return=None,  # `begin` has committed or rolled back
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": busy_s},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # The driver's own deferred BEGIN lets a read-then-write lose an update; this takes the write lock first.
        try:  # past SQLAlchemy, whose own way takes as long as eight rows
            connection.connection.driver_connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise OperationalError("BEGIN IMMEDIATE", None, error) from error

    return engine


def _reading_engine(path: Path) -> AsyncEngine:
    # Quoted, because SQLite reads a file: address as a URI and a folder may be called 100%#1?
    url = URL.create("sqlite+aiosqlite", database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"})
    engine = create_async_engine(url, pool_size=2, max_overflow=0, connect_args={"timeout": BUSY_S})

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        # SQLite's driver begins no transaction for a SELECT, so each of a look would see another moment.
        connection.exec_driver_sql("BEGIN")

    return engine
