"""The forms an export is written in. Each takes lines of text cells, some thousand at a time.

CSV is for spreadsheets: UTF-8 with a byte order mark, CRLF. Cells that a spreadsheet would compute (=, +, -, @ and controls at
the beginning) get an apostrophe in front, except where they are a number: -5 and +86… stay as they are, so no number is damaged.
The other forms hold every cell as it is.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from engine.errors import PlanError
from engine.intake.harmless import harmless
from engine.language import _

Lines = Sequence[Sequence[str]]
Write = Callable[[Lines], None]

_COMPUTED = ("=", "+", "-", "@", "\t", "'")  # at the beginning of a cell; line breaks are looked for by themselves
_AFTER_COMMA = tuple(f",{sign}" for sign in _COMPUTED)
_WORKBOOKS = frozenset({"xlsx", "xls", "xlsm", "ods"})
_GROUP_LINES = 64_000  # of a row group


class Form(StrEnum):
    """How an export is written."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


def form_of(wanted: str | None, target: Path) -> Form:
    """The form by its word, else by the name of the file; CSV where neither says. Raises PlanError."""
    word = target.suffix.lstrip(".").lower() if wanted is None else wanted
    if wanted is None:
        if word in _WORKBOOKS:
            raise PlanError(
                _("an export is CSV, JSONL or Parquet, not .{word}; call it .csv, which Excel opens").format(word=word)
            )
        return {"jsonl": Form.JSONL, "ndjson": Form.JSONL, "parquet": Form.PARQUET}.get(word, Form.CSV)
    if word not in set(Form):
        raise PlanError(
            _("--format: there is no form {word!r}; there are: {names}").format(word=word, names=", ".join(Form))
        )
    return Form(word)


def writing(form: Form, file: IO[bytes], names: Sequence[str], plain: frozenset[int]) -> AbstractContextManager[Write]:
    """Write lines under these names for as long as the block lasts. `plain`: the columns that are of the lists.

    Raises PlanError where the library for the form is not installed.
    """
    match form:
        case Form.CSV:
            return _csv(file, names)
        case Form.JSONL:
            return _jsonl(file, names, plain)
        case Form.PARQUET:
            return _parquet(file, names)


@contextmanager
def _csv(file: IO[bytes], names: Sequence[str]) -> Iterator[Write]:
    file.write(codecs.BOM_UTF8)
    commas = len(names) - 1

    def write(lines: Lines) -> None:
        if lines:
            file.write(_csv_text(lines, commas).encode("utf-8", "replace"))

    write([list(names)])
    yield write


def _csv_text(lines: Lines, commas: int) -> str:
    """Most lines are their cells with commas between; only those that may need more are looked at cell by cell."""
    joined = list(map(",".join, lines))
    text = "\r\n".join(joined)
    signs = [sign for sign in ('"', *_AFTER_COMMA) if sign in text]
    risky = tuple(sign for sign in _COMPUTED if text.startswith(sign) or f"\n{sign}" in text)
    breaks = text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1
    if signs or risky or breaks or text.count(",") != commas * len(lines):
        joined = [
            line if line.count(",") == commas and not _needs_care(line, signs, risky, breaks) else _careful(cells)
            for line, cells in zip(joined, lines, strict=True)
        ]
        text = "\r\n".join(joined)
    return text + "\r\n"


def _needs_care(line: str, signs: Sequence[str], risky: tuple[str, ...], breaks: bool) -> bool:
    if line.startswith(risky) or (breaks and ("\n" in line or "\r" in line)) or not line:
        return True
    return any(sign in line for sign in signs)


def _careful(cells: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="").writerow(map(harmless, cells))
    return text.getvalue()


@contextmanager
def _jsonl(file: IO[bytes], names: Sequence[str], plain: frozenset[int]) -> Iterator[Write]:
    """A line each. What is not known of a result is null; a blank cell of the list stays a blank text."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    told = [at for at in range(len(names)) if at not in plain]

    def one(line: Sequence[str]) -> str:
        cells: list[str | None] = list(line)
        for at in told:
            cells[at] = cells[at] or None
        return encode(dict(zip(names, cells, strict=True)))

    def write(lines: Lines) -> None:
        if lines:
            file.write("".join(f"{one(line)}\n" for line in lines).encode("utf-8", "replace"))

    yield write


@contextmanager
def _parquet(file: IO[bytes], names: Sequence[str]) -> Iterator[Write]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise PlanError(
            _(
                "--format parquet needs pyarrow, which is not installed: pip install 'xinshi[parquet]', or choose csv or jsonl"
            )
        ) from error
    schema = pyarrow.schema([(name, pyarrow.string()) for name in names])
    waiting: list[Sequence[str]] = []

    def flush() -> None:
        columns: list[Any] = [pyarrow.array(column, pyarrow.string()) for column in zip(*waiting, strict=True)]
        if columns:
            table.write_table(pyarrow.Table.from_arrays(columns, schema=schema))
        waiting.clear()

    def write(lines: Lines) -> None:
        waiting.extend(lines)
        if len(waiting) >= _GROUP_LINES:
            flush()

    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as table:
        yield write
        flush()
