"""Bytes of any kind through intake: read or refused in words, no row lost, no number that does not stand in the file.

With atheris installed:  python -m tests.fuzz.fuzz_intake CORPUS_FOLDER
Without it, test_fuzz_intake.py runs the same check over `example(seed)` for a fixed number of seeds.
"""

from __future__ import annotations

import gzip
import random
import sys
import tempfile
import unicodedata
from pathlib import Path

from engine.errors import IntakeError
from engine.intake import ListFile, Seen, inspect_all
from engine.intake.reader import _read
from engine.intake.sheets import Sheet
from engine.numbers import MOBILE
from tests.intake.books import ods, xls, xlsx
from tests.intake.lists import zipped
from tests.numbers import mobiles

_NUMBERS = mobiles(12, seed=5)
_CELLS = [
    *_NUMBERS,
    *(f"+86{number}" for number in _NUMBERS[:3]),
    *("姓名", "手机号", "phone", "张三", "上海,浦东", "聕", "", " ", "\u3000", "1.38E+10", "010-88886666", "2026-03-01", "x" * 300),
    *('"', '""', '"a"', '"a\nb"', '"a""b"', "sep=;", "\ufeff", "\u2028", "\x0c", "\x1a", "=1+1", "①", "²", "😀"),
    f"{_NUMBERS[0]}/{_NUMBERS[1]}",
    f"{_NUMBERS[2]} {_NUMBERS[3]}",
]  # fmt: skip
_ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "gb18030", "gb18030", "utf-16", "utf-16-le", "utf-32", "big5", "latin-1")


def one(data: bytes, folder: Path) -> str:
    """Put one file through intake, by both of its ways. Gives "read" or "refused"; anything wrong is an AssertionError or a crash."""
    path = folder / "list.csv"
    path.write_bytes(data)
    # As it is, and with a column that somebody named: without, every other file is in doubt about its column.
    outcomes = {_with_column(path, None), _with_column(path, "1")}
    return "read" if "read" in outcomes else "refused"


def _with_column(path: Path, column: str | None) -> str:
    try:
        list_files = inspect_all([path], column=column).list_files
    except IntakeError as error:
        _must_be_words(error, path)
        return "refused"
    outcomes = [_read_both_ways(list_file, path) for list_file in list_files]
    return "read" if all(outcomes) else "refused"


def _read_both_ways(list_file: ListFile, path: Path) -> bool:
    quick, careful = _harvest(list_file, path, quick=True), _harvest(list_file, path, quick=False)
    assert quick == careful
    return isinstance(quick, list)


def _harvest(list_file: ListFile, path: Path, *, quick: bool) -> list[tuple[object, ...]] | str:
    rows: list[tuple[object, ...]] = []
    known: set[str] = set()
    digits = None if isinstance(list_file.contents, Sheet) else _digits(list_file)
    try:
        for chunk in _read(list_file, seen=Seen(), quick=quick):
            assert chunk.rows + chunk.extra == len(chunk.mobiles) + len(chunk.excluded)
            assert len(chunk.mobiles) == len(chunk.lines)
            for mobile in chunk.mobiles:
                assert MOBILE.fullmatch(mobile)
                assert mobile not in known
                assert digits is None or mobile in digits
                known.add(mobile)
            rows += zip(chunk.mobiles, chunk.lines, strict=True)
            rows += [(row.line, row.raw, row.reason) for row in chunk.excluded]
    except IntakeError as error:
        _must_be_words(error, path)
        return str(error)
    return rows


def _must_be_words(error: IntakeError, path: Path) -> None:
    assert str(error).startswith(str(path))
    assert error.problem.strip()
    assert "Traceback" not in error.problem


def _digits(list_file: ListFile) -> str:
    """Every digit of the file as ASCII, in order, and nothing else: a mobile must stand in it."""
    with list_file.contents.opened() as file:
        text = file.read(1 << 24)[list_file.bom_bytes :].decode(list_file.encoding, "replace")
    return "".join(str(unicodedata.decimal(sign)) for sign in text if unicodedata.decimal(sign, None) is not None)


def example(seed: int) -> bytes:
    """A file that a person might have, and then something happened to it. The same seed gives the same bytes."""
    chance = random.Random(seed)
    data = _table(chance)
    match chance.randrange(12):
        case 0:
            data = gzip.compress(data, mtime=0)
        case 1:
            data = zipped({"a.csv": data, "b.txt": _table(chance)} if chance.random() < 0.5 else {"a.csv": data})
        case 2:
            data = _book(chance)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 8))):
        data = _harmed(chance, data)
    return data


def _table(chance: random.Random) -> bytes:
    delimiter, end = chance.choice(",\t;|"), chance.choice(("\n", "\r\n", "\r"))
    width = chance.randrange(1, 5)
    rows = [
        delimiter.join(chance.choice(_CELLS) for _ in range(width if chance.random() < 0.9 else chance.randrange(7)))
        for _ in range(chance.randrange(1, 30))
    ]
    if chance.random() < 0.6:
        rows.insert(0, delimiter.join(["手机号", "姓名", "城市", "x", "y"][:width]))
    return (end.join(rows) + end * chance.randrange(3)).encode(chance.choice(_ENCODINGS), "replace")


def _book(chance: random.Random) -> bytes:
    cells = [cell for cell in _CELLS if not any(sign < " " for sign in cell)]
    rows = [["手机号", "x"], *([chance.choice(cells), float(chance.choice(_NUMBERS))] for _ in range(5))]
    return chance.choice((xlsx, ods))({"一": rows}) if chance.random() < 0.7 else xls(rows)


def _harmed(chance: random.Random, data: bytes) -> bytes:
    at = chance.randrange(len(data) + 1)
    match chance.randrange(6):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        case 2:
            return data[:at] + chance.choice((b'"', b"\r", b"\n", b"\0", b",", b"\xff", b"\xef\xbb\xbf")) + data[at:]
        case 3:
            return data[:at] + data[at + chance.randrange(1, 20) :]
        case 4:
            return data[:at] + data[: chance.randrange(1, 60)] + data[at:]
        case _:
            return data[:at] + chance.randbytes(chance.randrange(1, 12)) + data[at:]


def main() -> None:
    """Let atheris choose the bytes."""
    import atheris

    with tempfile.TemporaryDirectory() as folder:
        atheris.instrument_all()
        atheris.Setup(sys.argv, lambda data: one(data, Path(folder)))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
