"""What a file is, before a row of it is read."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from pathlib import Path

import pytest

from engine.errors import IntakeError
from engine.intake import inspect
from tests.intake.lists import taken, written
from tests.numbers import mobiles

A, B, C = mobiles(3)
SHEET = f"姓名,手机号,城市\n张三,{A},上海\n李四,{B},北京\n王五,{C},広州\n"


def problem(path: Path, *, column: str | None = None, encoding: str | None = None) -> IntakeError:
    with pytest.raises(IntakeError) as caught:
        taken(path, column=column, encoding=encoding)
    assert caught.value.source == path
    return caught.value


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (SHEET.encode(), "utf-8"),
        (codecs.BOM_UTF8 + SHEET.encode(), "utf-8"),
        (SHEET.encode("gb18030"), "gb18030"),
        (b"\x84\x31\x95\x33" + SHEET.encode("gb18030"), "gb18030"),
        (SHEET.replace("张三", "镕喆😀").encode("gb18030"), "gb18030"),
        (codecs.BOM_UTF16_LE + SHEET.encode("utf-16-le"), "utf-16-le"),
        (codecs.BOM_UTF16_BE + SHEET.encode("utf-16-be"), "utf-16-be"),
        (codecs.BOM_UTF32_LE + SHEET.encode("utf-32-le"), "utf-32-le"),
    ],
)
def test_the_encoding_is_found_out(tmp_path: Path, content: bytes, encoding: str) -> None:
    path = written(tmp_path, content)
    found = inspect(path)
    assert found.encoding == encoding
    assert found.header == ("姓名", "手机号", "城市")
    assert found.column_label == "手机号"
    assert [row[1] for row in found.preview_rows] == [A, B, C]
    assert taken(path).mobiles == [A, B, C]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
def test_every_line_end_counts_once(tmp_path: Path, newline: str, encoding: str) -> None:
    got = taken(written(tmp_path, SHEET.replace("\n", newline), encoding=encoding))
    assert (got.mobiles, got.lines, got.rows) == ([A, B, C], [2, 3, 4], 3)


@pytest.mark.parametrize("given", ["gbk", "GB2312", "gb18030", "cp936"])
def test_every_name_of_the_chinese_encoding_is_understood(tmp_path: Path, given: str) -> None:
    assert inspect(written(tmp_path, SHEET, encoding="gb18030"), encoding=given).encoding == "gb18030"


@pytest.mark.parametrize("given", ["utf-16", "utf-16-be"])
def test_a_byte_order_mark_settles_what_utf_16_leaves_open(tmp_path: Path, given: str) -> None:
    path = written(tmp_path, codecs.BOM_UTF16_BE + SHEET.encode("utf-16-be"))
    assert taken(path, encoding=given).mobiles == [A, B, C]


def test_an_encoding_outside_the_usual_ones_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, f"name,phone\nMüller,{A}\n", encoding="latin-1")
    assert taken(path, encoding="latin-1").mobiles == [A]


def test_the_hash_and_the_size_are_those_of_the_bytes(tmp_path: Path) -> None:
    content = SHEET.encode("gb18030") * 3
    found = inspect(written(tmp_path, content))
    assert (found.sha256, found.size) == (hashlib.sha256(content).hexdigest(), len(content))


@pytest.mark.parametrize("padding", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) - 2])
def test_a_character_across_two_reads_is_no_damage(tmp_path: Path, padding: int) -> None:
    filler = "x" * 1023 + "\n"
    head = f"手机号\n{A}\n".encode()
    rest = padding - len(head)
    content = head + (filler * (rest // 1024)).encode() + b"y" * (rest % 1024) + "张三丰😀\n".encode()
    assert inspect(written(tmp_path, content)).encoding == "utf-8"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (codecs.BOM_UTF8, "empty but for its byte order mark"),
        (b"PK\x03\x04\x14\x00\x06\x00", "Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel workbook"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"%PDF-1.7", "PDF"),
        (b"\r\n <HTML><body>", "web page"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>', "web page"),
        (SHEET.encode("utf-16-le"), "--encoding utf-16-le"),
        (SHEET.encode("utf-16-be"), "--encoding utf-16-be"),
    ],
)
def test_what_is_no_list_is_called_by_its_name(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in str(problem(written(tmp_path, content)))


def test_a_missing_file(tmp_path: Path) -> None:
    assert "no such file" in str(problem(tmp_path / "none.csv"))


def test_a_folder(tmp_path: Path) -> None:
    assert "folder" in str(problem(tmp_path))


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "regular file" in str(problem(tmp_path / "pipe"))


def test_a_path_that_leads_through_a_file(tmp_path: Path) -> None:
    written(tmp_path, SHEET)
    assert "cannot be opened" in str(problem(tmp_path / "list.csv" / "below"))


def test_a_nul_byte_is_refused_with_its_line(tmp_path: Path) -> None:
    content = (f"{A}\n" * 100 + f"{B}\x00\n" + f"{C}\n" * 5000).encode()
    error = problem(written(tmp_path, content))
    assert error.line == 101
    assert "NUL" in str(error)


@pytest.mark.parametrize("rows", [3, 200_000])
def test_a_byte_that_fits_no_encoding_is_named_with_its_line_and_offset(tmp_path: Path, rows: int) -> None:
    head = f"手机号\n{A}\n".encode("gb18030") + b"12345\n" * rows
    error = problem(written(tmp_path, head + b"\xff\xff\n" + b"12345\n"))
    assert error.line == rows + 3
    assert f"byte FF at offset {len(head)} " in str(error)
    assert "--encoding" in str(error)


def test_a_damaged_character_across_two_reads_is_named_where_it_begins(tmp_path: Path) -> None:
    head = f"手机号\n{A}\n".encode()
    content = head + b"1\n" * (((1 << 20) - 1 - len(head)) // 2)
    content += b"\n" * ((1 << 20) - 1 - len(content)) + b"\xe5\n"
    assert f"offset {(1 << 20) - 1} " in str(problem(written(tmp_path, content), encoding="utf-8"))


def test_a_character_cut_at_the_end_of_the_file(tmp_path: Path) -> None:
    error = problem(written(tmp_path, f"手机号\n{A}\n李".encode()[:-1]), encoding="utf-8")
    assert error.line == 3


def test_a_wrong_encoding_is_named_with_the_line(tmp_path: Path) -> None:
    error = problem(written(tmp_path, f"phone,name\n{A},x\n{B},张三\n", encoding="gb18030"), encoding="utf-8")
    assert error.line == 3
    assert "not utf-8" in str(error)


def test_the_line_is_right_in_utf_16_too(tmp_path: Path) -> None:
    content = codecs.BOM_UTF16_LE + f"手机号\r\n{A}\r\n上\u0a0a".encode("utf-16-le") + b"\x00\xdc"
    assert problem(written(tmp_path, content)).line == 3


@pytest.mark.parametrize("given", ["klingon", "hex", "zlib"])
def test_no_encoding(tmp_path: Path, given: str) -> None:
    assert "is no encoding" in str(problem(written(tmp_path, SHEET), encoding=given))


@pytest.mark.parametrize("prefix", [b"", f"手机号\n{A}\n".encode()])
def test_fifty_megabytes_on_one_line_are_refused_with_the_line(tmp_path: Path, prefix: bytes) -> None:
    error = problem(written(tmp_path, prefix + b"1" * (50 << 20)))
    assert error.line == prefix.count(b"\n") + 1
    assert re.search("longer than 1024 KiB", str(error))
