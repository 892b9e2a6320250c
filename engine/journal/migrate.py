"""Brings a journal to the program's schema. Alembic runs inside this process, and only when something must change."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.errors import SchemaMismatch
from engine.journal.schema import HEAD, metadata

_SCRIPTS = Path(__file__).parent / "migrations"


async def bring_up_to_date(engine: AsyncEngine, path: Path) -> None:
    """Create the tables of a new journal; migrate an older one after a backup copy. Raises SchemaMismatch for a newer one."""
    async with engine.connect() as connection:
        version = await connection.run_sync(_version)
    if version == HEAD:
        return
    if version is None:
        async with engine.begin() as connection:
            await connection.run_sync(_create)
        return
    _refuse_unknown(version, path)
    _back_up(path, version)
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade)


async def refuse_newer(engine: AsyncEngine, path: Path) -> None:
    """Raises SchemaMismatch when the journal is not at the program's schema (only its owner may migrate it)."""
    async with engine.connect() as connection:
        version = await connection.run_sync(_version)
    if version is None:
        raise SchemaMismatch(f"{path} holds no journal yet; `xinshi send` creates one")
    if version != HEAD:
        _refuse_unknown(version, path)
        raise SchemaMismatch(f"the journal {path} is of an older version; `xinshi run` or `xinshi send` migrates it")


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return version


def _create(connection: Connection) -> None:
    # A new journal skips alembic: 0.3 s at every first start. A test holds this and the migrations together.
    metadata.create_all(connection)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def _refuse_unknown(version: str, path: Path) -> None:
    known = {script.name.split("_")[0] for script in (_SCRIPTS / "versions").glob("[0-9]*.py")}
    if version not in known:
        raise SchemaMismatch(
            f"the journal {path} was written by a newer program (its schema is {version}, this program knows up to {HEAD}); "
            "install the newer program, or name another journal with --journal. Nothing was changed."
        )


def _back_up(path: Path, version: str) -> None:
    copy = path.with_name(f"{path.name}.before-{HEAD}-was-{version}")
    copy.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(copy)) as new:
        old.backup(new)


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
