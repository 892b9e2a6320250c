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
from functools import cached_property
from typing import Any, cast

from sqlalchemy import BindParameter, Connection, Select, bindparam, func, select
from sqlalchemy.sql.dml import Insert, UpdateBase
from sqlalchemy.sql.visitors import replacement_traverse

Row = tuple[Any, ...]
_ENCODED = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_LEAST, _MOST = -(2**63), 2**63 - 1


class Rows(list[Row]):
    """Rows for several statements, told to SQLite in one text."""

    @cached_property
    def told(self) -> str | None:
        """The rows as JSON; None where SQLite would read something else than we mean.

        It ends a text at a NUL, and rounds whole numbers beyond 64 bits.
        """
        told = _ENCODED(self)
        too_large = [cell for row in self for cell in row if cell.__class__ is int and not _LEAST <= cell <= _MOST]
        return None if too_large or r"\u0000" in told else told


class Bulk:
    """A Core statement whose parameters `names` come as tuples in that order. Its other parameters are constants.

    Where rows are for several statements, `names` says in which place of a row each parameter is. `hot`: it is carried out
    while the event loop is busy.
    """

    def __init__(self, statement: UpdateBase, names: Sequence[str] | Mapping[str, int], *, hot: bool = False) -> None:
        places = names if isinstance(names, Mapping) else {name: place for place, name in enumerate(names)}
        self._row_by_row = _Compiled(statement, places)
        self._at_once = _Compiled(_at_once(statement, places), {"rows": 0}) if hot else None

    def execute(self, connection: Connection, rows: list[Row]) -> int:
        """Carry it out for all rows and return how many were changed, in all."""
        if self._at_once is not None and connection.dialect.name == "sqlite":  # Differs by necessity: see above
            told = (rows if isinstance(rows, Rows) else Rows(rows)).told
            if told is not None:
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

    def __init__(self, statement: UpdateBase, places: Mapping[str, int]) -> None:
        self._statement, self._places = statement, places
        self._compiled: dict[str, tuple[str, list[int | None], list[Any]]] = {}

    def execute(self, connection: Connection, rows: list[Row]) -> int:
        sql, places, constants = self._for(connection)
        if places != list(range(len(rows[0]))):
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
            compiled = self._statement.compile(dialect=connection.dialect, column_keys=list(self._places))
            order = compiled.positiontup
            assert order is not None, "the driver must take its parameters by position"
            assert self._places.keys() <= set(order), "every name is a parameter"
            places = [self._places.get(word) for word in order]
            self._compiled[name] = (str(compiled), places, [compiled.params[word] for word in order])
        return self._compiled[name]


def _at_once(statement: UpdateBase, places: Mapping[str, int]) -> UpdateBase:
    """The same statement for a JSON list of rows, given as the parameter `rows`."""
    given = func.json_each(bindparam("rows")).table_valued("value", name="given")
    cells = {name: func.json_extract(given.c.value, f"$[{place}]") for name, place in places.items()}
    if isinstance(statement, Insert):
        return statement.from_select(list(cells), select(*cells.values()))

    def as_cell(element: Any, **_: Any) -> Any:
        return cells.get(element.key) if isinstance(element, BindParameter) else None

    return cast("UpdateBase", replacement_traverse(statement, {}, as_cell))
