"""Which column holds the numbers. A doubtful guess would send to the wrong people."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import IntakeError
from engine.intake import inspect
from engine.intake.columns import KNOWN_HEADERS, _is_known, folded
from tests.intake.lists import taken, written
from tests.numbers import mobiles

NUMBERS = mobiles(40)
A, B, C = NUMBERS[:3]


def table(*rows: tuple[str, ...], delimiter: str = ",") -> str:
    return "".join(delimiter.join(row) + "\n" for row in rows)


def test_one_number_a_line(tmp_path: Path) -> None:
    path = written(tmp_path, table((A,), (B,), (C,)))
    found = inspect(path)
    assert (found.column, found.width, found.header, found.first_line) == (0, 1, None, 1)
    assert taken(path).mobiles == [A, B, C]


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
def test_the_delimiter_is_found_out(tmp_path: Path, delimiter: str, encoding: str) -> None:
    # 聕 is C2 7C in GBK: its second byte is the pipe.
    rows = [("会员", "手机号", "城市"), ("聕聕", A, "上海,浦东"), ("李四", B, "北京"), ("王五", C, "")]
    if delimiter == ",":
        rows[1] = ("聕聕", A, "上海")
    path = written(tmp_path, table(*rows, delimiter=delimiter), encoding=encoding)
    assert inspect(path).delimiter == delimiter
    assert taken(path).mobiles == [A, B, C]


def test_a_pipe_inside_a_chinese_character_is_no_delimiter(tmp_path: Path) -> None:
    path = written(tmp_path, f"会员|手机号|城市|备注\n聕{A}|{B}|x\n", encoding="gb18030")
    assert taken(path).mobiles == [B]


def test_a_second_number_in_some_cells_is_no_delimiter(tmp_path: Path) -> None:
    got = taken(written(tmp_path, table((f"{A};{B}",), (C,), (NUMBERS[4],), (NUMBERS[5],))))
    assert (got.mobiles, got.extra) == ([A, B, C, *NUMBERS[4:6]], 1)


@pytest.mark.parametrize(
    "header",
    [
        "手机",
        "手机号",
        "手机号码",
        "电话",
        "联系电话",
        "客户手机号",
        " 手 机 号 ",
        "手机号（必填）",
        "【会员】手机号",
        "Mobile",
        "MOBILE_NO",
        "phone number",
        "Tel.",
        "手機號碼",
        "手机号1",
        "手机/电话",
        "收货人手机",
        "联系方式",
        "聯絡電話",
        "Customer_Phone",
        "Mobile Phone No.",
        "contact tel",
        "shoujihao",
        "lxdh",
    ],
)
def test_a_header_decides_even_beside_another_column_of_numbers(tmp_path: Path, header: str) -> None:
    path = written(tmp_path, table(("推荐人号", header), (B, A), (A, C)))
    assert inspect(path).column == 1


def test_another_column_with_numbers_is_told_of(tmp_path: Path) -> None:
    rows = ("城市", "手机号", "备用电话"), ("北京", A, B), ("上海", B, ""), ("广州", C, "010-62345678")
    path = written(tmp_path, table(*rows))
    assert (inspect(path).column, inspect(path).passed_over) == (1, ("备用电话",))
    assert inspect(path, column="备用电话").passed_over == ("手机号",)
    bare = inspect(written(tmp_path, table(*rows[1:])), column="2")
    assert bare.passed_over == ("3",)


@pytest.mark.parametrize(
    "header", ["紧急联系人电话", "推荐人手机", "emergency phone", f"电话{A}", "座机", "固定电话", "传真"]
)
def test_numbers_of_other_people_and_other_devices_are_not_known_by_their_header(header: str) -> None:
    assert not _is_known(header)


def test_known_headers_are_written_as_they_are_compared() -> None:
    assert {folded(header) for header in KNOWN_HEADERS} == KNOWN_HEADERS


def test_content_decides_where_no_header_is_known(tmp_path: Path) -> None:
    path = written(
        tmp_path, table(("id", "who", "target"), *((str(n), "x", number) for n, number in enumerate(NUMBERS)))
    )
    found = inspect(path)
    assert (found.column, found.column_label, found.first_line) == (2, "target", 2)
    assert taken(path).rows == len(NUMBERS)


def test_without_a_header_the_first_row_is_a_row(tmp_path: Path) -> None:
    got = taken(written(tmp_path, table(("张三", A), ("李四", B))))
    assert (got.mobiles, got.lines) == ([A, B], [1, 2])


def test_a_damaged_number_in_the_first_row_is_no_header(tmp_path: Path) -> None:
    got = taken(written(tmp_path, table((A[:9],), (B,), (C,))))
    assert (got.rows, got.mobiles, [row.line for row in got.excluded]) == (3, [B, C], [1])


def test_a_title_above_the_header_is_no_row(tmp_path: Path) -> None:
    path = written(
        tmp_path, table(("2026年春节活动名单", "", ""), ("", "", ""), ("序号", "手机号", "姓名"), ("1", A, "张三"))
    )
    found = inspect(path)
    assert (found.first_line, found.header) == (4, ("序号", "手机号", "姓名"))
    got = taken(path)
    assert (got.rows, got.lines) == (1, [4])


def test_a_header_over_two_lines(tmp_path: Path) -> None:
    got = taken(written(tmp_path, f'"姓\n名",手机号\n张三,{A}\n'))
    assert (got.rows, got.mobiles, got.lines) == (1, [A], [3])


def test_a_header_and_nothing_else(tmp_path: Path) -> None:
    got = taken(written(tmp_path, "姓名,手机号\n"))
    assert (got.rows, got.mobiles) == (0, [])


@pytest.mark.parametrize(
    "rows",
    [
        [("手机1", "手机2"), (A, B), (C, "")],
        [("手机号", "联系电话"), (A, B), (C, NUMBERS[4])],
        [("甲", "乙"), (A, B), (C, NUMBERS[4])],
        [("手机号", "甲"), ("无", A), ("无", B), ("无", C), ("无", NUMBERS[4]), (NUMBERS[5], NUMBERS[6])],
        [(A, B), (C, NUMBERS[4])],
    ],
)
def test_two_columns_that_could_be_it_are_both_shown(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    path = written(tmp_path, table(*rows))
    with pytest.raises(IntakeError, match="--column") as caught:
        inspect(path)
    text = str(caught.value)
    assert "\n  1: " in text
    assert "\n  2: " in text
    assert repr(A) in text or repr(B) in text


@pytest.mark.parametrize(("column", "expected"), [("1", [A]), ("2", [B]), ("手机2", [B]), (" 手 机 1 ", [A])])
def test_the_operator_decides_by_name_or_place(tmp_path: Path, column: str, expected: list[str]) -> None:
    path = written(tmp_path, table(("手机1", "手机2"), (A, B)))
    assert taken(path, column=column).mobiles == expected


def test_a_header_nobody_knows_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, table(("Kontakt", "Empfänger"), ("x", A), ("y", B)))
    got = taken(path, column="empfänger")
    assert (got.mobiles, got.rows) == ([A, B], 2)


@pytest.mark.parametrize("column", ["3", "0", "-1", "手机号码"])
def test_a_column_that_is_not_there(tmp_path: Path, column: str) -> None:
    with pytest.raises(IntakeError, match="there is no column") as caught:
        inspect(written(tmp_path, table(("姓名", "手机号"), ("张三", A))), column=column)
    assert "姓名, 手机号" in str(caught.value)


def test_a_name_that_two_columns_have(tmp_path: Path) -> None:
    with pytest.raises(IntakeError, match="several columns"):
        inspect(written(tmp_path, table(("手机号", "手机号"), (B, A))), column="手机号")


@pytest.mark.parametrize("content", ["姓名,城市\n张三,上海\n李四,北京\n", "\n\n\n", ",,\n,,\n", "一行文字\n"])
def test_no_column_of_numbers(tmp_path: Path, content: str) -> None:
    with pytest.raises(IntakeError, match="no column of mobile numbers"):
        inspect(written(tmp_path, content))


def test_a_named_column_of_bad_numbers_is_read_and_refused_row_by_row(tmp_path: Path) -> None:
    got = taken(written(tmp_path, table(("姓名", "手机号"), ("张三", "1.38E+10"), ("李四", ""))))
    assert (got.rows, got.mobiles, len(got.excluded)) == (2, [], 2)


def test_a_file_with_thousands_of_columns_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(IntakeError, match="columns"):
        inspect(written(tmp_path, f"{A}{',x' * 5000}\n"))
