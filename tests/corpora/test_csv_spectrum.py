"""csv-spectrum: each CSV is read as its JSON says, and each of its cells reaches a phone as it is, or its row is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.intake import inspect
from engine.intake.files import ListFile
from engine.intake.originals import original_rows
from tests.corpora.spread import SIGN, spread
from tests.numbers import mobiles

FOLDER = Path(__file__).parent / "csv-spectrum"
CASES = sorted(path.stem for path in (FOLDER / "csvs").glob("*.csv"))


def csv_of(case: str) -> Path:
    return FOLDER / "csvs" / f"{case}.csv"


def meant(case: str) -> list[dict[str, str]]:
    """The rows by their JSON. A line break in a cell is LF in a list of ours, however the file ends its lines."""
    rows = json.loads((FOLDER / "json" / f"{case}.json").read_bytes())
    if case == "location_coordinates":  # its JSON is one row, and has another number than its CSV
        rows = [rows | {"Contact Phone Number": "2095257564"}]
    return [{name: cell.replace("\r\n", "\n") for name, cell in row.items()} for row in rows]


def inspected(case: str) -> ListFile:
    """The list, its first column said to be the one with the numbers: there is none in it."""
    first = next(iter(meant(case)[0]))
    return inspect(csv_of(case), column=first)


def test_all_cases_are_there() -> None:
    assert len(CASES) == 12
    assert sum(len(row) for case in CASES for row in meant(case)) == 61


@pytest.mark.parametrize("case", CASES)
def test_a_case_is_read_as_its_json_says(case: str) -> None:
    list_file = inspected(case)
    assert list_file.header is not None
    got = [dict(zip(list_file.header, row, strict=True)) for _, rows in original_rows(list_file) for row in rows]
    assert got == meant(case)


def with_numbers(case: str, numbers: list[str]) -> bytes:
    """The case with a column of numbers in front, every other byte as it was."""
    begins = [line for lines, _ in original_rows(inspected(case)) for line in lines]
    lines = csv_of(case).read_bytes().split(b"\n")
    lines[0] = "手机号,".encode() + lines[0]
    for number, line in zip(numbers, begins, strict=True):
        lines[line - 1] = f"{number},".encode() + lines[line - 1]
    return b"\n".join(lines)


@pytest.mark.parametrize("words", [{"text": "cell"}, {"text_column": "cell"}], ids=["template", "whole text"])
async def test_every_cell_reaches_its_phone_or_its_row_is_left_out(tmp_path: Path, words: dict[str, str]) -> None:
    """All columns of all cases in one order, a list for each: its name says whose column is called `cell` in it."""
    (place := tmp_path / "lists").mkdir()
    columns = [(case, name) for case in CASES for name in meant(case)[0]]
    numbers = iter(mobiles(100, seed=12))
    expected: list[tuple[str, str]] = []
    for at, (case, name) in enumerate(columns):
        rows = meant(case)
        mine = [next(numbers) for _ in rows]
        head, rest = with_numbers(case, mine).split(b"\n", 1)
        names = [
            b"cell" if each == name.encode() else b"%d" % place
            for place, each in enumerate(head.rstrip(b"\r").split(b","))
        ]
        end = b"\r\n" if head.endswith(b"\r") else b"\n"
        (place / f"{at:03}.csv").write_bytes(b",".join(["手机号".encode(), *names[1:]]) + end + rest)
        expected += [(number, row[name]) for number, row in zip(mine, rows, strict=True)]
    template = "您好{cell}，到了"
    fates = await spread(place, **({"text": template} if "text" in words else words))
    for (number, cell), fate in zip(expected, fates, strict=True):
        assert (fate.row["手机号"], fate.row["cell"]) == (number, cell)
        if not cell:
            assert (fate.reason.partition(":")[0], fate.told) == ("placeholder", [])
        elif "text" not in words:
            assert fate.told == [SIGN + cell]
        elif "\n" in cell:
            assert (fate.reason.partition(":")[0], fate.told) == ("unsendable", [])
        else:
            assert fate.told == [SIGN + template.format(cell=cell)]
    assert sum(not fate.told for fate in fates) == (7 if "text" in words else 4)
