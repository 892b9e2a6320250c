"""Cells come back equal or are refused, never altered: the well known cases of CSV, naughty strings, and whatever hypothesis finds."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.errors import IntakeError
from engine.intake import examine, inspect
from engine.intake.sheets import text_of
from engine.numbers import Refusal
from tests.intake.books import xlsx
from tests.intake.lists import harvested, taken, written
from tests.numbers import mobile, mobiles

pytestmark = pytest.mark.usefixtures("forking")

A, B = mobiles(2)

# The cases that every reader of CSV is held against, with a column of mobiles in front, and rows as they must come back.
# A line end inside a cell comes back as LF: line ends are those of the file, not of the cell.
SPECTRUM = {
    "a comma in quotes": (f'phone,name,city\n{A},John,"120 any st., Anytown"\n', [["John", "120 any st., Anytown"]]),
    "empty cells": (f'phone,a,b,c\n{A},1,"",""\n{B},2,3,4\n', [["1", "", ""], ["2", "3", "4"]]),
    "empty cells, CRLF": (f'phone,a,b,c\r\n{A},1,"",""\r\n{B},2,3,4\r\n', [["1", "", ""], ["2", "3", "4"]]),
    "escaped quotes": (f'phone,a,b\n{A},1,"ha ""ha"" ha"\n{B},3,4\n', [["1", 'ha "ha" ha'], ["3", "4"]]),
    "JSON in a cell": (
        f'phone,key,val\n{A},1,"{{""type"": ""Point"", ""coordinates"": [102.0, 0.5]}}"\n',
        [["1", '{"type": "Point", "coordinates": [102.0, 0.5]}']],
    ),
    "a location with coordinates": (
        f'phone,Address,Location\n{A},"1 Main Street, Springfield","1 Main Street\nSpringfield, XX 00000\n(37.33, -121.88)"\n',
        [["1 Main Street, Springfield", "1 Main Street\nSpringfield, XX 00000\n(37.33, -121.88)"]],
    ),
    "line ends": (f'phone,a,b\n{A},"Once upon \na time",5\n{B},7,8\n', [["Once upon \na time", "5"], ["7", "8"]]),
    "line ends, CRLF": (f'phone,a,b\r\n{A},"Once upon \r\na time",5\r\n{B},7,8\r\n', [["Once upon \na time", "5"], ["7", "8"]]),
    "quotes and line ends": (f'phone,a,b\n{A},1,"ha \n""ha"" \nha"\n{B},3,4\n', [["1", 'ha \n"ha" \nha'], ["3", "4"]]),
    "simple": (f"phone,a,b\n{A},1,2\n", [["1", "2"]]),
    "simple, CRLF": (f"phone,a,b\r\n{A},1,2\r\n", [["1", "2"]]),
    "utf-8": (f"phone,a,b\n{A},1,2\n{B},4,ʤ\n", [["1", "2"], ["4", "ʤ"]]),
    "a quote for a cell": (f'phone,a,b\n{A},"""",""""""\n', [['"', '""']]),
    "blanks around": (f'phone,a,b\n{A}, x ,"  y  "\n', [[" x ", "  y  "]]),
}  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), [pytest.param(*case, id=name) for name, case in SPECTRUM.items()])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_the_well_known_cases(tmp_path: Path, content: str, expected: list[list[str]], encoding: str) -> None:
    found = inspect(written(tmp_path, content, encoding=encoding))
    assert [list(row[1:]) for row in found.preview_rows] == expected
    assert harvested(found).mobiles == [A, B][: len(expected)]


NAUGHTY = [
    "", " ", "\u3000", "undefined", "null", "NULL", "(null)", "nil", "NaN", "-1", "0x0", "1E+02", "1/0", "TRUE", "'", '"', '""', "''", '"\'"', "`",
    ",", ";", "|", ",,,", '","', "\t", "a\tb", "\\", "\\n", "\\\\", '\\"', "=1+1", "=cmd|' /C calc'!A0", "+SUM(A1)", "-2+3", "@SUM(1)",
    "../../../etc/passwd", "$HOME", "${7*7}", "{{7*7}}", "{0}", "%s%d%n", "%00", "; DROP TABLE users --", "' OR 1=1 -- -", "<script>alert(1)</script>",
    "<?xml?>", "]]>", "&amp;", "田中さん", "㐂𠮷", "ÅÍÎÏ˝", "Ω≈ç√", "0️⃣ 1️⃣", "👩‍👩‍👧‍👦", "🇨🇳", "﷽", "مُنَاقَشَةُ", "test\u202etset", "\u200b\u200b", "\ufeffx", "Z̮̞̠͙",
    "\u2028", "a\u0085b", "\x0b\x0c", "\x01\x02\x7f", "\x1a", "a\nb", "a\n\n\nb", "＂，；", "①②③", "١٣٨", "½⅓", "ﬁ", "İı", "ﾃｽﾄ", "𝟏𝟑𝟖", "~!@#$%^&*()_+", "e" + "\u0301" * 40, "长" * 300,
]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_naughty_string_comes_back_as_it_was(tmp_path: Path, encoding: str, delimiter: str) -> None:
    path = tmp_path / "list.csv"
    for at, (naughty, number) in enumerate(zip(NAUGHTY, mobiles(len(NAUGHTY)), strict=True)):
        out = io.StringIO()
        rows = csv.writer(out, delimiter=delimiter, lineterminator="\r\n")
        rows.writerows([["名", "手机号", "x"], [naughty, number, naughty], ["y", mobile(9), "z"]])
        path.write_bytes(out.getvalue().encode(encoding))
        found = inspect(path)
        assert found.preview_rows == ((naughty, number, naughty), ("y", mobile(9), "z")), at
        assert harvested(found).mobiles == [number, mobile(9)], at


def test_a_naughty_string_in_a_sheet_comes_back_as_it_was(tmp_path: Path) -> None:
    # XML holds no control characters, and Excel none of its own; a cell of nothing is no cell.
    fit = [naughty for naughty in NAUGHTY if naughty and not re.search("[\x00-\x08\x0b-\x1f]", naughty)]
    numbers = mobiles(len(fit))
    rows = [["名", "手机号"], *([naughty, float(number)] for naughty, number in zip(fit, numbers, strict=True))]
    got = taken(written(tmp_path, xlsx({"一": rows})))
    assert got.mobiles == numbers
    for begin in range(0, len(fit), 3):
        found = inspect(written(tmp_path, xlsx({"一": [rows[0], *rows[1 + begin : 4 + begin]]})))
        assert [row[0] for row in found.preview_rows] == fit[begin : begin + 3]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_naughty_string_for_a_number_is_left_out_as_it_was(tmp_path: Path, encoding: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([["手机号", "x"], *([naughty, "y"] for naughty in NAUGHTY)])
    got = taken(written(tmp_path, out.getvalue(), encoding=encoding))
    assert got.mobiles == []
    assert got.rows == len(NAUGHTY)
    raws = {naughty[:200] for naughty in NAUGHTY}
    assert {row.raw for row in got.excluded} == raws


# Whatever hypothesis finds ─────────────────────────────────────────────────────────────────────────────────────────────

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=12)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(texts, min_size=width, max_size=width), min_size=1, max_size=3)
)


@given(
    table=tables,
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"]),
)
@settings(max_examples=300, deadline=None)
def test_a_table_that_was_written_is_read_back_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[list[str]],
    delimiter: str,
    line_end: str,
    quoting: int,
    encoding: str,
) -> None:
    numbers = mobiles(len(table) + 20)
    out = io.StringIO()
    rows = [[number, *cells] for number, cells in zip(numbers, table, strict=False)]
    # More rows, so that the sample says which delimiter it is.
    rows += [[number, *("x" for _ in table[0])] for number in numbers[len(table) :]]
    writer = csv.writer(out, delimiter=delimiter, lineterminator=line_end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([["手机号", *(f"c{at}" for at, _ in enumerate(table[0]))], *rows])
    path = written(tmp_path_factory.getbasetemp(), out.getvalue(), encoding=encoding, name="back.csv")
    try:
        found = inspect(path)
        got = harvested(found)
    except IntakeError:
        # Only where a cell itself looks like another column of mobiles or like parts of rows.
        assert any(sum(map(str.isdecimal, cell)) >= 11 for cells in table for cell in cells)
        return
    assert [list(row) for row in found.preview_rows] == rows[:3]
    assert got.mobiles == numbers


def digits_of(text: str) -> str:
    """Every decimal digit of a text as ASCII, and nothing else: what no rule may add to."""
    return "".join(str(unicodedata.decimal(sign)) for sign in text if unicodedata.decimal(sign, None) is not None)


@given(
    st.text(
        st.one_of(
            st.sampled_from("0123456789１２３0123456789+-() .86EeＥ/、;'=\"\t\n\u200b²①½Ⅰ一〇٣𝟑⒈"),
            st.characters(exclude_categories=["Cs"]),
        ),
        max_size=40,
    )
)
@settings(max_examples=1_000)
def test_no_number_is_made_of_anything_but_the_digits_that_stand_there(cell: str) -> None:
    for verdict in examine(cell):
        if not isinstance(verdict, Refusal):
            assert verdict in digits_of(cell)


@given(
    number=st.integers(13 * 10**9, 20 * 10**9 - 1).map(str),
    before=st.sampled_from(["", "'", " ", "+86", "+86 ", "86", "0086-", "0", "\u200b", "＋８６", "(+86)", '="']),
    after=st.sampled_from(["", " ", ".0", ".00", "\t", "\u202c", '"']),
    cuts=st.lists(st.tuples(st.integers(0, 10), st.sampled_from(["-", " ", "\u200b", "‐", "\u3000"])), max_size=2),
)
def test_a_number_in_any_dress_is_itself_or_refused(
    number: str, before: str, after: str, cuts: list[tuple[int, str]]
) -> None:
    assume(before != '="' or after == '"')
    assume(after != '"' or before == '="')
    for at, sign in cuts:
        number_with = number[:at] + sign + number[at:]
        for verdict in examine(before + number_with + after):
            assert isinstance(verdict, Refusal) or verdict == number
    assert examine(before + number + after) == (number,)


@given(
    st.lists(st.integers(13 * 10**9, 20 * 10**9 - 1).map(str), min_size=2, max_size=4),
    st.sampled_from(["/", "、", ";", "；", " ", "，", "\n"]),
)
def test_several_numbers_are_all_taken_in_their_order(numbers: list[str], between: str) -> None:
    assert examine(between.join(numbers)) == tuple(numbers)


@given(st.text("0123456789", min_size=1, max_size=14), st.text("0123456789", min_size=1, max_size=14))
def test_digits_are_never_moved_between_two_numbers(first: str, second: str) -> None:
    for verdict in examine(f"{first}/{second}"):
        assert isinstance(verdict, Refusal) or verdict in first or verdict in second


@given(st.integers(0, 10**15 - 1))
def test_a_whole_number_of_a_sheet_keeps_every_digit(number: int) -> None:
    assert text_of(float(number)) == str(number)


@given(st.floats())
def test_a_number_of_a_sheet_is_a_mobile_only_when_it_is_one(number: float) -> None:
    for verdict in examine(text_of(number)):
        if not isinstance(verdict, Refusal):
            assert float(verdict) == abs(number)


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_bytes_of_any_kind_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = written(tmp_path_factory.getbasetemp(), mobile().encode() + b"\n" + content, name="any.csv")
    with contextlib.suppress(IntakeError):
        taken(path)  # which checks that no row is lost
