"""The words a column may hold, compared one by one: for IN (…) SQLite fills a table with them anew for every row.

It imports neither the schema nor the words of the model.
"""

from __future__ import annotations

import re

from alembic import op
from sqlalchemy.exc import DatabaseError

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_IN = re.compile(r"(CONSTRAINT ck_\w+_word CHECK \((?:\w+ IS NULL OR )?)(\w+) IN \(('\w+'(?:, '\w+')*)\)")


def upgrade() -> None:
    """Nothing changes in what is allowed. Most of the tables cannot be made anew: removing one removes what refers to it."""
    bind = op.get_bind()
    tables = bind.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'").all()
    version = bind.exec_driver_sql("PRAGMA schema_version").scalar_one()
    # The way of SQLite's own manual for a change of what is checked: lang_altertable.html, 7.
    bind.exec_driver_sql("PRAGMA writable_schema = ON")
    try:
        bind.exec_driver_sql(
            "UPDATE sqlite_master SET sql = ? WHERE type = 'table' AND name = ?",
            [(_IN.sub(_word_by_word, sql), name) for name, sql in tables],
        )
        bind.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    except DatabaseError:  # a SQLite that lets nobody edit its schema: the words stay as they were, and mean the same
        pass
    finally:
        bind.exec_driver_sql("PRAGMA writable_schema = OFF")


def _word_by_word(found: re.Match[str]) -> str:
    before, column, words = found.groups()
    return before + " OR ".join(f"{column} = {word}" for word in words.split(", "))
