"""Brings a journal to the program's schema. Alembic runs inside this process, and only when something must change."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.schema import CreateIndex, CreateTable

from engine.errors import JournalError, SchemaMismatch
from engine.journal.schema import HEAD, metadata
from engine.language import _

_SCRIPTS = Path(__file__).parent / "migrations"


def bring_up_to_date(engine: Engine, path: Path, *, scripts: Path = _SCRIPTS, head: str = HEAD) -> None:
    """Create the tables of a new journal; migrate an older one after a backup copy.

    `scripts` is the folder of the migrations, `head` the newest of them. Raises SchemaMismatch for a newer journal,
    JournalError for a database that is something else.
    """
    with engine.connect() as connection:
        version = _version(connection)
        foreign = version is None and bool(inspect(connection).get_table_names())
    if version == head:
        return
    if foreign:
        raise JournalError(
            _("{path} is a database of another program; name another journal with --journal").format(path=path)
        )
    if version is None:
        with engine.begin() as connection:
            _create(connection)
        return
    _refuse_unknown(version, path, scripts=scripts, head=head)
    _back_up(path, version, head)
    with engine.begin() as connection:
        _upgrade(connection, scripts)


async def refuse_newer(engine: AsyncEngine, path: Path, *, scripts: Path = _SCRIPTS, head: str = HEAD) -> None:
    """Raises SchemaMismatch when the journal is not at the program's schema (only its owner may migrate it)."""
    async with engine.connect() as connection:
        version = await connection.run_sync(_version)
    _refuse_other(version, path, scripts=scripts, head=head)


def refuse_other_version(connection: Connection, path: Path) -> None:
    """The same, where nothing else runs."""
    _refuse_other(_version(connection), path, scripts=_SCRIPTS, head=HEAD)


def _refuse_other(version: str | None, path: Path, *, scripts: Path, head: str) -> None:
    if version is None:
        raise SchemaMismatch(_("{path} holds no journal yet; `xinshi send` creates one").format(path=path))
    if version != head:
        _refuse_unknown(version, path, scripts=scripts, head=head)
        raise SchemaMismatch(
            _("the journal {path} is of an older version; `xinshi run` or `xinshi send` migrates it").format(path=path)
        )


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return version


def _create(connection: Connection) -> None:
    # A new journal skips alembic: 0.3 s at every first start. A test holds this and the migrations together.
    for statement in _statements():
        connection.exec_driver_sql(statement)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


@cache
def _statements() -> tuple[str, ...]:
    """What creates the tables and their indexes, written once: that takes twice as long as to run it."""
    dialect, made = sqlite.dialect(), []
    for table in metadata.sorted_tables:
        made.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        made.extend(str(CreateIndex(index).compile(dialect=dialect)) for index in indexes)
    return tuple(made)


def _refuse_unknown(version: str, path: Path, *, scripts: Path, head: str) -> None:
    known = {script.name.split("_")[0] for script in (scripts / "versions").glob("[0-9]*.py")}
    if version not in known:
        raise SchemaMismatch(
            _(
                "the journal {path} was written by a newer program (its schema is {version}, this program knows up to "
                "{head}); install the newer program, or name another journal with --journal. Nothing was changed."
            ).format(path=path, version=version, head=head)
        )


def _back_up(path: Path, version: str, head: str) -> None:
    copy = path.with_name(f"{path.name}.before-{head}-was-{version}")
    try:
        copy.touch(mode=0o600)
        with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(copy)) as new:
            old.execute("PRAGMA query_only = ON")  # only one connection may write
            old.backup(new)
    except (OSError, sqlite3.Error) as error:
        raise JournalError(
            _("the journal cannot be copied to {copy} before it is migrated ({error})").format(copy=copy, error=error)
        ) from error


def _upgrade(connection: Connection, scripts: Path) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))  # the format of ini files
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
