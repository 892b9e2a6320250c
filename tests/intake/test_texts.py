"""What a row is told, beside whose number it is: the quick and the careful way say the same, and nobody is lost for a text."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import PlanError
from engine.intake import ListFile, Screen, Seen, Texts, inspect, placed
from engine.intake.reader import _read, read_all
from engine.intake.screening import packed
from engine.lines import tagged
from engine.model import Exclusion, Message
from tests.intake.books import xlsx
from tests.intake.lists import written
from tests.numbers import mobiles


class Blank(NamedTuple):
    reason: Exclusion = Exclusion.PLACEHOLDER
    detail: str = "no name"


def say(columns: Sequence[Sequence[str]]) -> list[Message | Blank]:
    """The cells themselves, told apart by a character that no list holds; a row without the first has no text."""
    return [Message("\x1f".join(cells), 1, 1) if cells[0] else Blank() for cells in zip(*columns, strict=True)]


def texts_of(list_file: ListFile, *names: str) -> Texts:
    return Texts(placed(names, header=list_file.header, width=list_file.width, source=list_file.label), say)


def told(
    path: Path, *names: str, quick: bool = True, block_bytes: int = 1 << 16
) -> tuple[list[tuple[str, int, str]], list[tuple[int, str]]]:
    """Number, line and text of everybody, and who is left out and why. Every chunk conserves its rows."""
    list_file = inspect(path)
    people, left_out = [], []
    for chunk in _read(list_file, seen=Seen(), texts=texts_of(list_file, *names), quick=quick, block_bytes=block_bytes):
        assert chunk.texts is not None
        assert len(chunk.mobiles) == len(chunk.lines) == len(chunk.texts)
        assert chunk.rows + chunk.extra == len(chunk.mobiles) + len(chunk.excluded)
        people += [(m, line, t.content) for m, line, t in zip(chunk.mobiles, chunk.lines, chunk.texts, strict=True)]
        left_out += [(row.line, row.reason.value) for row in chunk.excluded]
    return people, left_out


A, B, C, D, E = mobiles(5)


def test_texts_stay_with_their_numbers_whatever_is_left_out(tmp_path: Path) -> None:
    rows = [
        f"甲,{A},北京",
        f"乙,{A},上海",
        f",{B},广州",
        f"丙,{B},深圳",
        f"丁,+86{C} / {D},杭州",
        "戊,123,南京",
        f"己,{E}",
    ]
    path = written(tmp_path, "姓名,手机号,城市\n" + "\n".join(rows) + "\n")
    people, left_out = told(path, "姓名", "城市")
    assert people == [
        (A, 2, "甲\x1f北京"), (B, 5, "丙\x1f深圳"), (C, 6, "丁\x1f杭州"), (D, 6, "丁\x1f杭州"), (E, 8, "己\x1f"),
    ]  # fmt: skip
    assert left_out == [(3, "duplicate"), (4, "placeholder"), (7, "invalid")]


def test_two_numbers_of_a_row_without_a_text_are_both_left_out(tmp_path: Path) -> None:
    people, left_out = told(written(tmp_path, f"姓名,手机号\n,{A}/{B}\n乙,{C}\n"), "姓名")
    assert (people, left_out) == ([(C, 3, "乙")], [(2, "placeholder")] * 2)


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
def test_cells_come_decoded_and_without_their_quotes(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, f'姓名,手机号,备注\n"王,""芳""",{A},"a b"\n李雷,"{B}", x\n', encoding=encoding)
    assert told(path, "备注", "姓名")[0] == [(A, 2, 'a b\x1f王,"芳"'), (B, 3, " x\x1f李雷")]


def test_a_cell_over_several_lines_comes_whole(tmp_path: Path) -> None:
    path = written(tmp_path, f'姓名,手机号\n"王\n芳",{A}\n李雷,{B}\n')
    assert told(path, "姓名")[0] == [(A, 2, "王\n芳"), (B, 4, "李雷")]


def test_a_workbook_has_texts_too(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    path.write_bytes(xlsx({"一": [["姓名", "手机号"], ["王芳", float(A)], [None, float(B)], ["李雷", f"{C}/{D}"]]}))
    people, left_out = told(path, "姓名")
    assert people == [(A, 2, "王芳"), (C, 4, "李雷"), (D, 4, "李雷")]
    assert left_out == [(3, "placeholder")]


def test_the_number_itself_can_be_told(tmp_path: Path) -> None:
    path = written(tmp_path, f"姓名,手机号\n王,{A}\n李,+86 {B}\n")
    assert told(path, "手机号")[0] == [(A, 2, A), (B, 3, f"+86 {B}")]
    assert told(path, "手机号", "姓名")[0] == [(A, 2, f"{A}\x1f王"), (B, 3, f"+86 {B}\x1f李")]


def test_without_a_header_columns_are_named_by_place(tmp_path: Path) -> None:
    assert told(written(tmp_path, f"王,{A}\n李,{B}\n"), "1")[0] == [(A, 1, "王"), (B, 2, "李")]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("性名", "is {姓名} meant"),
        ("地址", "its header has 姓名, 手机号, 备注, 备注"),
        ("备注", "several columns of .* are called that; name one by its place: 3, 4"),
        ("5", "no such column"),
        ("0", "no such column"),
        ("·", "no such column"),
    ],
)
def test_a_name_that_is_no_column_is_refused(name: str, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        placed([name], header=["姓名", "手机号", "备注", "备注"], width=4, source="list.csv")


@pytest.mark.parametrize("name", ["姓名", " 姓 名 ", "姓名(必填)", "1"])
def test_names_are_compared_as_headers_are(name: str) -> None:
    assert placed([name], header=["姓名（必填）", "手机号"], width=2, source="list.csv") == (0,)


def test_screening_and_several_lists_keep_texts_and_rows_together(tmp_path: Path) -> None:
    one = inspect(written(tmp_path, f"姓名,手机号\n甲,{A}\n乙,{B}\n", name="one.csv"))
    two = inspect(written(tmp_path, f"手机号;姓名\n{B};丙\n{C};丁\n", name="two.csv"))
    texts = [texts_of(one, "姓名"), texts_of(two, "姓名")]
    screen = Screen(packed([A]))
    chunks = list(map(screen.sift, read_all([one, two], seen=Seen(packed([D])), texts=texts, first=3)))
    assert [chunk.mobiles for chunk in chunks] == [[B], [C]]
    assert [[text.content for text in chunk.texts or []] for chunk in chunks] == [["乙"], ["丁"]]
    assert [row.line for chunk in chunks for row in chunk.excluded] == [tagged(3, 2), tagged(4, 2)]
    assert [list(chunk.original(row.line)) for chunk in chunks for row in chunk.excluded] == [["甲", A], [B, "丙"]]


_CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(
        st.tuples(_CELL, st.sampled_from([A, B, C, f"+86{D}", "123", "", f"{A}/{E}"]), _CELL), min_size=1, max_size=12
    ),
    st.booleans(),
    st.sampled_from([64, 1 << 16]),
)
def test_the_quick_and_the_careful_way_tell_the_same(
    tmp_path: Path, rows: list[tuple[str, str, str]], quote_all: bool, block_bytes: int
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL)
    writer.writerows([("姓名", "手机号", "备注"), ("王", A, "x"), *rows])
    path = written(tmp_path, out.getvalue())
    careful = told(path, "备注", "姓名", quick=False, block_bytes=block_bytes)
    assert told(path, "备注", "姓名", block_bytes=block_bytes) == careful
