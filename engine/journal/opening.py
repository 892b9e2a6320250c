"""Opens a journal: to own it and write, or to look.

One connection writes; everybody else, the owner's own looks included, reads with `mode=ro`. SQLite before 3.51.3 can
damage its write-ahead log when two connections write.
"""

from __future__ import annotations

import os
import socket
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from engine.errors import JournalError
from engine.journal import writes
from engine.journal.faults import journal_error
from engine.journal.lock import journal_lock
from engine.journal.migrate import bring_up_to_date, refuse_newer
from engine.journal.store import Reader, SqlJournal


async def open_journal(path: Path) -> SqlJournal:
    """Own the journal at `path`, creating or migrating it first. What an earlier owner left half done is put in order.

    Raises JournalBusy (with the owner's pid), SchemaMismatch, JournalError.
    """
    _make_folder(path)
    async with AsyncExitStack() as undo:
        lock = journal_lock(path)
        undo.callback(lock.release)
        _make_file(path)
        writer = _writing_engine(path)
        undo.push_async_callback(writer.dispose)
        try:
            await bring_up_to_date(writer, path)
            owner = f"{socket.gethostname()}:{os.getpid()}"
            async with writer.begin() as connection:
                epoch = await writes.take_over(connection, name=owner, now=datetime.now(UTC))
        except SQLAlchemyError as error:
            raise journal_error(error) from error
        undo.pop_all()
    return SqlJournal(writer, _reading_engine(path), owner=owner, epoch=epoch, lock=lock)


async def read_journal(path: Path) -> Reader:
    """Look into the journal at `path` without owning it. Raises JournalError when there is none."""
    if not path.is_file():  # noqa: ASYNC240  one stat, before anything else runs
        raise JournalError(f"there is no journal at {path}; nothing was sent with it yet (see --journal)")
    reader = _reading_engine(path)
    try:
        await refuse_newer(reader, path)
    except SQLAlchemyError as error:
        await reader.dispose()
        raise journal_error(error) from error
    except BaseException:
        await reader.dispose()  # an open connection would keep the process from ending
        raise
    return Reader(reader)


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise JournalError(f"cannot create the folder {path.parent} ({error.strerror})") from error


def _make_file(path: Path) -> None:
    # SQLite would create it readable by everybody; its -wal and -shm files take over the mode of this one.
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise JournalError(f"cannot write the journal {path} ({error.strerror})") from error


def _writing_engine(path: Path) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}", pool_size=1, max_overflow=0, connect_args={"isolation_level": None}
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 2000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        # The driver's own deferred BEGIN lets a read-then-write lose an update; this takes the write lock first.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _reading_engine(path: Path) -> AsyncEngine:
    engine = create_async_engine(f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true", pool_size=2, max_overflow=0)

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout = 2000")
        cursor.close()

    return engine
