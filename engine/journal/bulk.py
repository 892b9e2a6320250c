"""One statement for many rows, at the price of the driver.

SQLAlchemy's own executemany turns every row from a dict into a tuple and every value through its type: more work than the
database has with it. Here the statement is still SQLAlchemy's, compiled once for each database, and the rows come as
tuples of what the driver stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.sql.dml import UpdateBase


class Bulk:
    """A Core statement whose parameters `names` come as tuples in that order. Its other parameters are constants."""

    def __init__(self, statement: UpdateBase, names: Sequence[str]) -> None:
        self._statement, self._names = statement, list(names)
        self._compiled: dict[str, tuple[str, list[int | None], list[Any]]] = {}

    def execute(self, connection: Connection, rows: list[tuple[Any, ...]]) -> int:
        """Carry it out for all rows and return how many were changed, in all."""
        sql, places, constants = self._for(connection)
        if places != list(range(len(self._names))):
            rows = [
                tuple(
                    [
                        constant if place is None else row[place]
                        for place, constant in zip(places, constants, strict=True)
                    ]
                )
                for row in rows
            ]
        return connection.exec_driver_sql(sql, rows).rowcount

    def _for(self, connection: Connection) -> tuple[str, list[int | None], list[Any]]:
        name = connection.dialect.name
        if name not in self._compiled:
            compiled = self._statement.compile(dialect=connection.dialect, column_keys=self._names)
            order = compiled.positiontup
            assert order is not None, "the driver must take its parameters by position"
            places = [self._names.index(word) if word in self._names else None for word in order]
            assert sorted(place for place in places if place is not None) == list(range(len(self._names)))
            self._compiled[name] = (str(compiled), places, [compiled.params[word] for word in order])
        return self._compiled[name]
