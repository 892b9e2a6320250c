"""A new journal and a migrated one are the same; an older one is copied first; a newer one is left alone."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import IntegrityError

from engine.errors import JournalError, SchemaMismatch
from engine.journal import migrate
from engine.journal.lock import is_held
from engine.journal.migrate import bring_up_to_date, refuse_newer
from engine.journal.opening import _make_file, _writing_engine, open_journal, read_journal
from engine.journal.schema import HEAD, metadata
from tests.journal.stores import SqlitePlace, planned

SCRIPTS = Path(migrate.__file__).parent / "migrations"

NEXT = f"{int(HEAD) + 1:04d}"
COPY = f"xinshi.db.before-{NEXT}-was-{HEAD}"

ONE_MORE = f"""
import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{HEAD}"


def upgrade() -> None:
    op.add_column("campaign", sa.Column("note", sa.Text))
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    _make_file(tmp_path / "xinshi.db")
    engine = _writing_engine(tmp_path / "xinshi.db", 2)
    yield engine
    engine.dispose()


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The migrations and one more, in a folder whose name an ini file would misread."""
    folder = tmp_path / "100%s"
    copytree(SCRIPTS, folder, ignore=ignore_patterns("__pycache__"))
    (folder / "versions" / f"{NEXT}_a_note.py").write_text(ONE_MORE)
    return folder


def shape(path: Path) -> dict[str, list[str]]:
    """Every table and index, its parts in an order that does not matter."""
    with closing(sqlite3.connect(path)) as raw:
        made = raw.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'")
        return {name: _parts(sql) for name, sql in made}


def _parts(sql: str) -> list[str]:
    """Split a statement at its outermost commas and level the spelling of what means the same."""
    head, _, body = " ".join(sql.split()).partition("(")
    parts, depth, part = [], 0, ""
    for sign in body.removesuffix(")"):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and not depth:
            parts.append(part)
            part = ""
        else:
            part += sign
    return [head.strip().replace('"', ""), *sorted(_level(part) for part in (*parts, part))]


def _level(part: str) -> str:
    part = part.strip().replace('"', "")
    return re.sub(r"^(\w+) (\w+)( CONSTRAINT .*)? NOT NULL(.*)$", r"\1 \2 NOT NULL\4\3", part)


def test_there_is_one_migration_for_every_version_up_to_the_newest() -> None:
    versions = sorted(script.name.partition("_")[0] for script in (SCRIPTS / "versions").glob("[0-9]*.py"))
    assert versions == [f"{number:04d}" for number in range(1, len(versions) + 1)]
    assert versions[-1] == HEAD


def test_a_new_journal_and_a_migrated_one_are_the_same(tmp_path: Path, engine: Engine) -> None:
    with engine.begin() as connection:
        migrate._upgrade(connection, SCRIPTS)
    _make_file(tmp_path / "new.db")
    new = _writing_engine(tmp_path / "new.db", 2)
    bring_up_to_date(new, tmp_path / "new.db")
    new.dispose()
    migrated, created = shape(tmp_path / "xinshi.db"), shape(tmp_path / "new.db")
    assert set(migrated) >= set(metadata.tables)
    assert migrated == created
    for path in (tmp_path / "xinshi.db", tmp_path / "new.db"):
        with closing(sqlite3.connect(path)) as raw:
            assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CREATE TABLE t (a INTEGER NOT NULL, b TEXT)", "CREATE TABLE t (a INTEGER NOT NULL, b TEXT NOT NULL)"),
        ("CREATE TABLE t (a INTEGER, CHECK (a > 0))", "CREATE TABLE t (a INTEGER, CHECK (a >= 0))"),
        ("CREATE TABLE t (a INTEGER, UNIQUE (a))", "CREATE TABLE t (a INTEGER)"),
        ("CREATE TABLE t (a INTEGER DEFAULT '0')", "CREATE TABLE t (a INTEGER DEFAULT '1')"),
        ("CREATE INDEX i ON t (a, b)", "CREATE INDEX i ON t (a)"),
        ("CREATE INDEX i ON t (a)", "CREATE UNIQUE INDEX i ON t (a)"),
    ],
)
def test_the_comparison_sees_a_difference(one: str, other: str) -> None:
    assert _parts(one) != _parts(other)


async def test_an_older_journal_is_migrated_after_a_copy(tmp_path: Path, scripts: Path) -> None:
    place = SqlitePlace(tmp_path)
    async with place.open() as journal:
        await planned(journal, 1, 2)
    engine = _writing_engine(place.path, 2)
    bring_up_to_date(engine, place.path, scripts=scripts, head=NEXT)
    engine.dispose()
    assert place.rows("SELECT name, note FROM campaign") == [{"name": "spring", "note": None}]
    assert place.rows("SELECT version_num FROM alembic_version") == [{"version_num": NEXT}]
    (copy,) = tmp_path.glob("*before*")
    assert copy.name == COPY
    assert copy.stat().st_mode & 0o777 == 0o600
    beside = await read_journal(copy)
    try:
        assert [record.name for record in await beside.campaigns()] == ["spring"]
    finally:
        await beside.close()
    with closing(sqlite3.connect(copy)) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
        assert raw.execute("SELECT count(*) FROM batch").fetchall() == [(2,)]
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.fixture
def before_words(tmp_path: Path, engine: Engine) -> SqlitePlace:
    """A journal of the time when words were listed, with one row left out."""
    old = tmp_path / "old"
    copytree(SCRIPTS, old, ignore=ignore_patterns("__pycache__", "0012*"))
    with engine.begin() as connection:
        migrate._upgrade(connection, old)
    place = SqlitePlace(tmp_path)
    place.alter(
        "INSERT INTO campaign (name, account, profile, order_key, plan_hash, state, created_at) "
        "VALUES ('spring', 'a', 'p', 'k', 'h', 'paused', 0)"
    )
    place.alter("INSERT INTO exclusion (campaign_id, line, raw, reason, detail) VALUES (1, 2, 'x', 'empty', '')")
    return place


def words_checked(place: SqlitePlace) -> None:
    place.alter("UPDATE exclusion SET reason = 'too_often'")
    for wrong in ("UPDATE exclusion SET reason = 'ugly'", "UPDATE campaign SET state = 'finished'"):
        with pytest.raises(sqlite3.IntegrityError, match="_word"):
            place.alter(wrong)
    assert place.rows("SELECT reason FROM exclusion") == [{"reason": "too_often"}]
    assert place.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert place.rows("PRAGMA writable_schema") == [{"writable_schema": 0}]


def test_a_migrated_journal_checks_the_same_words_one_by_one(before_words: SqlitePlace, engine: Engine) -> None:
    words_checked(before_words)
    assert "IN ('invalid'" in str(shape(before_words.path)["exclusion"])
    bring_up_to_date(engine, before_words.path)
    with engine.connect() as connection, pytest.raises(IntegrityError, match="ck_reason_word"):  # who migrated it, too
        connection.exec_driver_sql("UPDATE exclusion SET reason = 'ugly'")
    words_checked(before_words)
    assert "IN ('invalid'" not in str(shape(before_words.path)["exclusion"])


def test_words_stay_listed_where_nobody_may_edit_the_schema(before_words: SqlitePlace, engine: Engine) -> None:
    @event.listens_for(engine, "begin")
    def _defend(connection: Connection) -> None:
        def judged(action: int, table: str | None, *_: object) -> int:
            forbidden = action == sqlite3.SQLITE_UPDATE and table == "sqlite_master"
            return sqlite3.SQLITE_DENY if forbidden else sqlite3.SQLITE_OK

        connection.connection.driver_connection.set_authorizer(judged)  # type: ignore[union-attr]  # of sqlite3

    bring_up_to_date(engine, before_words.path)
    words_checked(before_words)
    assert before_words.rows("SELECT version_num FROM alembic_version") == [{"version_num": HEAD}]
    assert "IN ('invalid'" in str(shape(before_words.path)["exclusion"])


def test_the_newest_journal_is_neither_migrated_nor_copied(tmp_path: Path, engine: Engine, scripts: Path) -> None:
    path = tmp_path / "xinshi.db"
    bring_up_to_date(engine, path)
    bring_up_to_date(engine, path)
    assert not list(tmp_path.glob("*before*"))


def test_a_migration_that_fails_leaves_the_journal_as_it_was(tmp_path: Path, engine: Engine, scripts: Path) -> None:
    path = tmp_path / "xinshi.db"
    bring_up_to_date(engine, path)
    script = scripts / "versions" / f"{NEXT}_a_note.py"
    script.write_text(ONE_MORE + '    op.execute("SELECT nothing FROM nowhere")\n')
    with pytest.raises(Exception, match="nowhere"):
        bring_up_to_date(engine, path, scripts=scripts, head=NEXT)
    assert "note" not in " ".join(shape(path)["campaign"])
    script.write_text(ONE_MORE)
    bring_up_to_date(engine, path, scripts=scripts, head=NEXT)  # and can be tried again
    assert "note TEXT" in shape(path)["campaign"]


def test_a_journal_that_cannot_be_copied_is_not_migrated(tmp_path: Path, engine: Engine, scripts: Path) -> None:
    path = tmp_path / "xinshi.db"
    bring_up_to_date(engine, path)
    (tmp_path / COPY).mkdir()
    with pytest.raises(JournalError, match="cannot be copied"):
        bring_up_to_date(engine, path, scripts=scripts, head=NEXT)
    assert "note TEXT" not in shape(path)["campaign"]


async def test_a_newer_journal_is_refused_and_not_changed(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path)
    async with place.open() as journal:
        await planned(journal, 1)
    place.alter("UPDATE alembic_version SET version_num = '9999'")
    before = place.path.read_bytes()
    for way in (open_journal, read_journal):
        with pytest.raises(SchemaMismatch, match="newer program"):
            await way(place.path)
    assert place.path.read_bytes() == before
    assert not is_held(place.path)
    assert not list(tmp_path.glob("*before*"))


async def test_an_older_journal_is_not_migrated_by_a_look(tmp_path: Path, scripts: Path) -> None:
    place = SqlitePlace(tmp_path)
    async with place.open() as journal:
        await planned(journal, 1)
    async with place.look() as beside:
        with pytest.raises(SchemaMismatch, match="older version"):
            await refuse_newer(beside._reader, place.path, scripts=scripts, head=NEXT)
    assert place.rows("SELECT version_num FROM alembic_version") == [{"version_num": HEAD}]
