"""Rows that a program has at hand, as a private list for a moment: so that there is one way of planning."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import shutil
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from engine.errors import IntakeError, PlanError
from engine.language import N_, _
from engine.terms import system_words

Row = Mapping[str, object] | str
"""Cells by the names of their columns; or a number alone."""
Rows = AsyncIterable[Row] | Iterable[Row]

NUMBERS = "手机号"  # the column of rows that are numbers alone
_AT_ONCE = 2_000  # rows


@asynccontextmanager
async def spooled(rows: Rows) -> AsyncIterator[Path]:
    """A CSV file of the rows (0600, in a folder of its own), removed when the block ends.

    The first row says which columns there are; a cell that a later row lacks is blank. Raises PlanError for rows that are not
    alike, IntakeError when there is no room.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="xinshi-"))  # 0700
    except OSError as error:
        raise IntakeError(
            _("no room for the rows: {problem}").format(problem=system_words(error)), source=N_("rows")
        ) from error
    try:
        path = folder / "rows.csv"
        await _fill(path, rows)
        yield path
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _fill(path: Path, rows: Rows) -> None:
    columns: tuple[str, ...] | None = None
    written = 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
        async for some in _stretches(rows):
            if columns is None:
                columns = _columns(some[0])
                file.write(_lines([columns]))
            cells = [_cells(row, columns, number) for number, row in enumerate(some, written + 1)]
            written += len(some)
            try:
                await asyncio.to_thread(file.write, _lines(cells))
            except OSError as error:
                raise IntakeError(
                    _("no room for the rows: {problem}").format(problem=system_words(error)), source=N_("rows")
                ) from error
    if not written:
        raise PlanError(_("there is no row to plan: nothing came"))


async def _stretches(rows: Rows) -> AsyncIterator[list[Row]]:
    some: list[Row] = []
    async for row in _one_by_one(rows):
        some.append(row)
        if len(some) >= _AT_ONCE:
            yield some
            some = []
    if some:
        yield some


async def _one_by_one(rows: Rows) -> AsyncIterator[Row]:
    if isinstance(rows, AsyncIterable):
        async for row in rows:
            yield row
        return
    for row in rows:
        yield row


def _columns(first: Row) -> tuple[str, ...]:
    if isinstance(first, str):
        return (NUMBERS,)
    if not first:
        raise PlanError(_("row 1 has no columns; give a number, or cells by the names of their columns"))
    return tuple(map(str, first))


def _cells(row: Row, columns: Sequence[str], number: int) -> list[str]:
    """Raises PlanError for a row that is not like the first."""
    if isinstance(row, str):
        if columns != (NUMBERS,):
            raise PlanError(_("row {number} is a number alone, and the first row has columns").format(number=number))
        return [row]
    if not isinstance(row, Mapping):
        raise PlanError(
            _("row {number} is {kind}; give a number as text, or cells by the names of their columns").format(
                number=number, kind=type(row).__name__
            )
        )
    if unknown := [str(name) for name in row if name not in columns]:
        raise PlanError(
            _("row {number} has a column that the first row has not: {name}").format(number=number, name=unknown[0])
        )
    return [_cell(row.get(name)) for name in columns]


def _cell(value: object) -> str:
    """A cell as people write it: a number that a library made a float is a number again."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).replace("\0", "")


def _lines(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
