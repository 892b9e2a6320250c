"""One statement for many rows, at the price of the driver.

SQLAlchemy's own executemany turns every row from a dict into a tuple and every value through its type: more work than the
database has with it. Here the statement is still SQLAlchemy's, compiled once for each database, and the rows come as
tuples of what the driver stores.

The driver's executemany lets go of the interpreter at every row, and beside a busy event loop it gets it back only after
the switch interval: up to 5 ms a row. So the hot statements hand SQLite all rows at once, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import BindParameter, Connection, Select, bindparam, func, select
from sqlalchemy.sql.dml import Insert, UpdateBase
from sqlalchemy.sql.visitors import replacement_traverse

Row = tuple[Any, ...]
_ENCODED = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_LEAST, _MOST = -(2**63), 2**63 - 1


class Bulk:
    """A Core statement whose parameters `names` come as tuples in that order. Its other parameters are constants.

    `hot`: it is carried out while the event loop is busy.
    """

    def __init__(self, statement: UpdateBase, names: Sequence[str], *, hot: bool = False) -> None:
        self._row_by_row = _Compiled(statement, names)
        self._at_once = _Compiled(_at_once(statement, names), ["rows"]) if hot else None

    def execute(self, connection: Connection, rows: list[Row]) -> int:
        """Carry it out for all rows and return how many were changed, in all."""
        if self._at_once is not None and connection.dialect.name == "sqlite":  # Differs by necessity: see above
            told = _ENCODED(rows)
            if _comes_back_equal(rows, told):
                return self._at_once.execute(connection, [(told,)])
        return self._row_by_row.execute(connection, rows)


class Fetch:
    """A query whose rows come at once. Of columns the driver itself can give: whole numbers, floats, texts.

    The driver lets go of the interpreter at every row it fetches, too.
    """

    def __init__(self, query: Select[Any]) -> None:
        self._row_by_row = query
        rows = query.subquery()
        self._at_once = select(func.json_group_array(func.json_array(*rows.c)))

    def rows(self, connection: Connection, parameters: Mapping[str, Any]) -> list[Row]:
        """All rows, in any order."""
        if connection.dialect.name != "sqlite":  # Differs by necessity: see above
            return [tuple(row) for row in connection.execute(self._row_by_row, parameters)]
        found: list[list[Any]] = json.loads(connection.execute(self._at_once, parameters).scalar_one())
        return [tuple(row) for row in found]


class _Compiled:
    """A statement, compiled once for each database."""

    def __init__(self, statement: UpdateBase, names: Sequence[str]) -> None:
        self._statement, self._names = statement, list(names)
        self._compiled: dict[str, tuple[str, list[int | None], list[Any]]] = {}

    def execute(self, connection: Connection, rows: list[Row]) -> int:
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
        cursor = connection.connection.cursor()  # SQLAlchemy's own way around it costs as much as eight rows
        try:
            if len(rows) == 1:
                cursor.execute(sql, rows[0])
            else:
                cursor.executemany(sql, rows)
            return int(cursor.rowcount)
        finally:
            cursor.close()

    def _for(self, connection: Connection) -> tuple[str, list[int | None], list[Any]]:
        name = connection.dialect.name
        if name not in self._compiled:
            compiled = self._statement.compile(dialect=connection.dialect, column_keys=self._names)
            order = compiled.positiontup
            assert order is not None, "the driver must take its parameters by position"
            places = [self._names.index(word) if word in self._names else None for word in order]
            assert sorted({place for place in places if place is not None}) == list(range(len(self._names)))
            self._compiled[name] = (str(compiled), places, [compiled.params[word] for word in order])
        return self._compiled[name]


def _comes_back_equal(rows: list[Row], told: str) -> bool:
    """Whether SQLite reads the JSON as we mean it: it ends a text at a NUL, and rounds whole numbers beyond 64 bits."""
    too_large = [cell for row in rows for cell in row if cell.__class__ is int and not _LEAST <= cell <= _MOST]
    return not too_large and r"\u0000" not in told


def _at_once(statement: UpdateBase, names: Sequence[str]) -> UpdateBase:
    """The same statement for a JSON list of rows, given as the parameter `rows`."""
    given = func.json_each(bindparam("rows")).table_valued("value", name="given")
    cells = {name: func.json_extract(given.c.value, f"$[{place}]") for place, name in enumerate(names)}
    if isinstance(statement, Insert):
        return statement.from_select(list(names), select(*cells.values()))

    def as_cell(element: Any, **_: Any) -> Any:
        return cells.get(element.key) if isinstance(element, BindParameter) else None

    return cast("UpdateBase", replacement_traverse(statement, {}, as_cell))
