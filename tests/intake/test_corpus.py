"""Nasty files, each with what it must come to: the recipients and why the others are none, or the words of the refusal."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.errors import IntakeError
from engine.intake import inspect, inspect_all
from engine.intake.archives import Gzipped
from engine.intake.files import examined
from engine.intake.given import GivenFile
from engine.model import Exclusion
from tests.intake.books import At, Date, Error, ods, ole, protected, xls, xlsx
from tests.intake.lists import flagged, harvested, taken, written, zipped
from tests.numbers import mobiles

pytestmark = pytest.mark.usefixtures("forking")

A, B, C, D = mobiles(4)
FULL_WIDTH = str.maketrans("0123456789+", "０１２３４５６７８９＋")
HEAD = f"姓名,手机号,城市\n张三,{A},上海\n"
WIDE = A.translate(FULL_WIDTH)

EMPTY, INVALID, DUPLICATE = Exclusion.EMPTY, Exclusion.INVALID, Exclusion.DUPLICATE
LANDLINE, FOREIGN, IOT = Exclusion.LANDLINE, Exclusion.FOREIGN, Exclusion.IOT
DIGITS_LOST, MALFORMED = Exclusion.DIGITS_LOST, Exclusion.MALFORMED


@dataclass(frozen=True)
class Taking:
    """A file that is read: its recipients, the lines and reasons of the others."""

    content: bytes | str
    mobiles: list[str]
    reasons: list[tuple[int, Exclusion]] = field(default_factory=list)
    extra: int = 0
    lines: list[int] | None = None
    how: Mapping[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Refusing:
    """A file that is refused: words of the refusal, and its line."""

    content: bytes | str
    words: str
    line: int | None = None
    how: Mapping[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"


def spliced(data: bytes, at: int, patch: bytes) -> bytes:
    return data[:at] + patch + data[at + len(patch) :]


GZIPPED = gzip.compress(HEAD.encode(), mtime=0)
ZIPPED = zipped({"客户.csv": HEAD.encode()})
BOOK = xlsx({"客户": [["姓名", "手机号"], ["张三", float(A)], ["李四", B]]})
TWO_SHEETS = xlsx({"客户": [["手机号"], [float(A)]], "会员": [["手机号"], [float(B)]], "空": []})

TAKEN = {
    # Encodings and line ends
    "utf-8 with a mark, CRLF": Taking(codecs.BOM_UTF8 + HEAD.replace("\n", "\r\n").encode(), [A]),
    "gb18030 with characters of four bytes": Taking(HEAD.replace("张三", "㐂𠮷😀"), [A], encoding="gb18030"),
    "gbk whose second bytes are pipes and braces": Taking(HEAD.replace("张三", "聕聓聛"), [A], encoding="gb18030"),
    "utf-16-le, tabs: Excel's Unicode text": Taking(codecs.BOM_UTF16_LE + f"姓名\t手机号\r\n张三\t{A}\r\n".encode("utf-16-le"), [A]),
    "utf-16-be": Taking(codecs.BOM_UTF16_BE + HEAD.encode("utf-16-be"), [A]),
    "utf-16 whose characters hold the bytes of line ends and commas": Taking(codecs.BOM_UTF16_LE + f"名,手机号\nਊ℀Ⰺ,{A}\n".encode("utf-16-le"), [A]),
    "big5, as named": Taking(f"姓名,手機\n張三,{A}\n", [A], encoding="big5", how={"encoding": "big5"}),
    "an old Mac's line ends": Taking(f"手机\r{A}\r{B}\r", [A, B], lines=[2, 3]),
    "every kind of line end in one file": Taking(f"手机\r\n{A}\n{B}\r{C}", [A, B, C], lines=[2, 3, 4]),
    "no line end behind the last row": Taking(HEAD + f"李四,{B},", [A, B]),
    "blank lines inside and behind": Taking(HEAD + f"\n李四,{B},\n\n\n", [A, B], [(3, EMPTY), (5, EMPTY), (6, EMPTY)]),
    "rows of commas behind the data": Taking(HEAD + ",,\n,,\n", [A], [(3, EMPTY), (4, EMPTY)]),
    "the end mark of DOS": Taking(f"手机\n{A}\n\x1a", [A], [(3, EMPTY)]),
    "a form feed, U+0085 and U+2028 end no row": Taking(HEAD + f"李\x0c\u0085\u2028四,{B},\n", [A, B], lines=[2, 3]),
    # Delimiters, headers, quotes
    "Excel's line that names the delimiter": Taking(f"sep=;\n姓名;手机号\n张三;{A}\n", [A], lines=[3]),
    "such a line without a header below": Taking(f"sep=;\n张三;{A}\n李四;{B}\n", [A, B], lines=[2, 3]),
    "such a line in quotes": Taking(f'"sep=,"\n{A},x\n{B},y\n', [A, B], lines=[2, 3]),
    "semicolons, and decimals with commas": Taking(f"名;手机;元\n张;{A};1,50\n李;{B};2,75\n", [A, B]),
    "a pipe between, gb18030": Taking(f"聕|手机\n聕|{A}\n", [A], encoding="gb18030"),
    "a title and a blank line above the header": Taking(f"春节名单,,\n,,\n姓名,手机号,城市\n张三,{A},上海\n", [A], lines=[4]),
    "one number a line": Taking(f"{A}\n{B}\n{A}\n", [A, B], [(3, DUPLICATE)], lines=[1, 2]),
    "one number a line below a header": Taking(f"电话\n{A}\n", [A], lines=[2]),
    "one number a line, the first one damaged": Taking(f"{A[:9]}\n{B}\n", [B], [(1, INVALID)]),
    "every cell in quotes": Taking(f'"姓名","手机号"\n"张,三","{A}"\n"李""四""","{B}"\n', [A, B]),
    "a line break in a cell": Taking(HEAD + f'"李\n四",{B},"x\r\ny"\n王五,{C},\n', [A, B, C], lines=[2, 3, 6]),
    "an inch sign in a cell": Taking(HEAD + f'5"7,{B},6"\n王五,{C},\n', [A, B, C]),
    "a header with a line break": Taking(f'"手机\n号码",x\n{A},\n', [A], lines=[3]),
    "a header with a remark": Taking(f"姓名,*手机号码（必填，11位）\n{C},{A}\n", [A]),
    "two columns called mobile, one named": Taking(f"手机1,手机2\n{A},{B}\n", [B], how={"column": "手机2"}),
    "a column by its place": Taking(f"x,y\n{A},{B}\n", [B], how={"column": "2"}),
    "a tab behind each number, as shops export it": Taking(f"订单,手机号\nx,{A}\t\ny,\"{B}\t\"\n", [A, B]),
    "cells too many and too few": Taking(HEAD + f"李,四,{B},上海\n王五\n赵六,{C}\n", [A, C], [(3, MALFORMED), (4, MALFORMED)]),
    "a word before each number is no header": Taking(f"客户电话:{A}\n{B}\n{C}\n", [B, C], [(1, INVALID)]),
    # Numbers
    "full-width digits": Taking(f"手机\n{WIDE}\n＋８６{B}\n", [A, B]),
    "country codes and trunk zeros": Taking(f"手机\n+86{A}\n0086 {B}\n86-{C}\n0{D}\n", [A, B, C, D]),
    "blanks, dashes, brackets": Taking(f"手机\n{A[:3]} {A[3:7]} {A[7:]}\n{B[:3]}-{B[3:7]}—{B[7:]}\n（{C}）\n", [A, B, C]),
    "characters of no width": Taking(f"手机\n\u200b{A}\u200d\n\ufeff{B}\n\u202d{C}\u202c\n{D[:5]}\u00ad{D[5:]}\n", [A, B, C, D]),
    "floats": Taking(f"手机\n{A}.0\n{B}.00\n{C[0]}.{C[1:]}E10\n", [A, B, C]),
    "apostrophes and formulas": Taking(f"手机\n'{A}\n=\"{B}\"\n", [A, B]),
    "two numbers in a cell": Taking(
        f"手机\n{A}/{B}\n{C}、{D}\n", [A, B, C, D], extra=2, lines=[2, 2, 3, 3]
    ),
    "two numbers in a cell, by a blank and a semicolon": Taking(f"手机;x\n{A} {B};\n\"{C};{D}\";\n", [A, B, C, D], extra=2),
    "a mobile and a landline in a cell": Taking(f"手机\n{A} 010-88886666\n{B}/0571-8888666\n", [A, B], [(2, LANDLINE), (3, LANDLINE)], extra=2),
    "the same number twice in a cell": Taking(f"手机\n{A}/{A}\n", [A], [(2, DUPLICATE)], extra=1),
    "one number in four dresses": Taking(f"手机\n{A}\n+86{A}\n{WIDE}\n{A}.0\n", [A], [(3, DUPLICATE), (4, DUPLICATE), (5, DUPLICATE)]),
    "digits that a spreadsheet lost": Taking(f"手机\n{A}\n1.38E+10\n1.3812E10\n13.8E+09\n1.38E+10/1.39E+10\n", [A], [(3, DIGITS_LOST), (4, DIGITS_LOST), (5, DIGITS_LOST), (6, DIGITS_LOST), (6, DIGITS_LOST)], extra=1),
    "no mobiles of the mainland": Taking(
        f"手机\n{A}\n010-88886666\n400-888-6666\n+852 6123 4567\n+1 202 555 0123\n10648{A[:8]}\n1440{A[:9]}\n10086\n{A[:10]}\n{A}1\n12{A[2:]}\n",
        [A],
        [(3, LANDLINE), (4, LANDLINE), (5, FOREIGN), (6, FOREIGN), (7, IOT), (8, IOT), (9, INVALID), (10, INVALID), (11, INVALID), (12, INVALID)],
    ),
    "what only looks like a digit": Taking(f"手机\n{A}\n{B[:10]}²\n{B[:10]}①\n{B[:10]}½\n{B[:10]}Ⅰ\n{B[:10]}一\n{B[:10]}l\n{B[:10]}O\n", [A], [(line, INVALID) for line in range(3, 10)]),
    "dates and times": Taking(f"手机\n{A}\n2026-03-01\n2026/3/1\n20260301\n2026-03-01 13:05:59\n", [A], [(line, INVALID) for line in range(3, 7)]),
    "masked": Taking(f"手机\n{A}\n{B[:3]}****{B[7:]}\n", [A], [(3, INVALID)]),
    "a name beside the number": Taking(f"手机\n{A}\n{B}张三\n", [A], [(3, INVALID)]),
    # Archives
    "a .gz": Taking(GZIPPED, [A]),
    "a .gz of two parts": Taking(GZIPPED + gzip.compress(f"李四,{B},\n".encode()), [A, B], lines=[2, 3]),
    "a .gz of gb18030": Taking(gzip.compress(HEAD.encode("gb18030")), [A]),
    "a .zip of one list": Taking(ZIPPED, [A]),
    "a .zip of one list called otherwise": Taking(zipped({"导出.dat": HEAD.encode()}), [A]),
    "a .zip with what a Mac adds": Taking(zipped({"a.csv": HEAD.encode(), "__MACOSX/._a.csv": b"\0\5", ".DS_Store": b"\0"}), [A]),
    "a .zip with a read-me beside the list": Taking(zipped({"a.csv": HEAD.encode(), "说明.docx": b"PK"}), [A]),
    "a .zip with names in GBK": Taking(zipped({"客户.csv": HEAD.encode("gbk")}, utf8_names=False), [A]),
    # Workbooks
    "a workbook": Taking(BOOK, [A, B], lines=[2, 3]),
    "an OpenDocument sheet": Taking(ods({"客户": [["手机号"], [float(A)], [], [B]]}), [A, B], [(3, EMPTY)], lines=[2, 4]),
    "a workbook of Excel 97": Taking(xls([["姓名", "手机号"], ["张三", float(A)], ["李四", B]]), [A, B], lines=[2, 3]),
    "a list that begins in the middle of a sheet": Taking(xlsx({"一": [[], [None, "名单"], [None, "姓名", "手机号"], [None, "张", float(A)]]}), [A], lines=[4]),
    "a column of a sheet by its place on the screen": Taking(xlsx({"一": [[None, "甲", "乙"], [None, float(A), float(B)]]}), [B], lines=[2], how={"column": "3"}),
    "a sheet by name": Taking(TWO_SHEETS, [B], how={"sheet": "会员"}),
    "a sheet by its place": Taking(TWO_SHEETS, [B], how={"sheet": "2"}),
    "a hidden sheet is not asked for": Taking(xlsx({"一": [["手机号"], [A]], "二": [["手机号"], [B]]}, hidden=["二"]), [A]),
    "a hidden sheet, as named": Taking(xlsx({"一": [["手机号"], [A]], "二": [["手机号"], [B]]}, hidden=["二"]), [B], how={"sheet": "二"}),
    "an empty sheet is not asked for": Taking(xlsx({"一": [], "二": [["手机号"], [A]]}), [A]),
    "everything that a cell can be": Taking(
        xlsx({"一": [["手机号"], [float(A)], [Date(45000)], [True], [Error()], [1.38e20], [13812.5], [f"{B}\n{C}"], ["1.38E+10"], [Date(45000.5)], [-1.5]]}),
        [A, B, C],
        [(3, INVALID), (4, INVALID), (5, EMPTY), (6, DIGITS_LOST), (7, INVALID), (9, DIGITS_LOST), (10, INVALID), (11, INVALID)],
        extra=1,
    ),
}  # fmt: skip

REFUSED = {
    "empty": Refusing(b"", "the file is empty"),
    "a mark and nothing else": Refusing(codecs.BOM_UTF8, "empty but for its byte order mark"),
    "blank lines": Refusing("\n\n\n", "no column of mobile numbers"),
    "utf-16 without a mark": Refusing(HEAD, "--encoding utf-16-le", encoding="utf-16-le"),
    "a NUL": Refusing(HEAD + f"\0,{B},\n", "NUL", 3),
    "bytes of no encoding": Refusing(HEAD.encode() + b"\xff\xff,\n", "byte FF at offset", 3),
    "a character cut in the middle": Refusing(HEAD.encode() + "李".encode()[:2], "does not decode", 3, how={"encoding": "utf-8"}),
    "gbk taken for utf-8": Refusing(HEAD, "not utf-8", 1, encoding="gbk", how={"encoding": "utf-8"}),
    "an encoding for host names": Refusing(HEAD, "is no encoding of lists", how={"encoding": "idna"}),
    "an encoding that is none": Refusing(HEAD, "is no encoding of lists", how={"encoding": "undefined"}),
    "a quote that never closes": Refusing(HEAD + f'"李四,{B},\n', "does not close", 3),
    "a quote that closes in another row": Refusing(HEAD + f'"李四,{B},\n王五,{C},\n赵"六,{D},\n', "parts of other rows", 3),
    "two columns of mobiles": Refusing(f"{A},{B}\n{C},{D}\n", "say which one with --column"),
    "a header that two columns share": Refusing(f"手机,手机\n{A},{B}\n", "several columns are called", how={"column": "手机"}),
    "a column that is not there": Refusing(HEAD, "there is no column 'mobile' among the 3; the header has: 姓名, 手机号, 城市", how={"column": "mobile"}),
    "prose": Refusing("Dear all,\nplease find the list below.\n", "no column of mobile numbers"),
    "JSON": Refusing(f'[{{"phone": "{A}"}},\n{{"phone": "{B}"}}]\n', "this is JSON"),
    "an address book": Refusing(f"BEGIN:VCARD\nN:张;三\nTEL;CELL:{A}\nEND:VCARD\n", "no column of mobile numbers"),
    "a line that never ends": Refusing(HEAD.encode() + b"1" * (2 << 20), "longer than 1024 KiB", 3),
    "a thousand columns and more": Refusing(f"{A}{',x' * 1000}\n", "a list has at most"),
    "a web page called .xls": Refusing(f"\r\n<html><table><tr><td>{A}", "web page"),
    "a sheet as XML": Refusing('<?xml version="1.0"?><Workbook/>', "web page or XML"),
    "a PDF": Refusing(b"%PDF-1.7\n", "PDF"),
    "an RTF": Refusing("{\\rtf1 x}", "RTF"),
    "a RAR": Refusing(b"Rar!\x1a\x07\x01\x00", "RAR archive"),
    "a 7z": Refusing(b"7z\xbc\xaf\x27\x1c", "7z archive"),
    "a tar": Refusing(b"a.csv".ljust(257, b"\0") + b"ustar\x0000" + bytes(248), "tar archive"),
    "a tar in a .gz": Refusing(gzip.compress(b"a.csv".ljust(257, b"\0") + b"ustar\x0000" + bytes(248)), "tar archive"),
    # Archives
    "a .gz cut short": Refusing(GZIPPED[:-12], "damaged or incomplete gzip archive"),
    "a .gz with a flipped byte": Refusing(spliced(GZIPPED, 20, b"\xff\xff\xff"), "damaged or incomplete gzip archive"),
    "a .gz whose checksum is wrong": Refusing(spliced(GZIPPED, len(GZIPPED) - 8, b"\1\2\3\4"), "damaged or incomplete gzip archive"),
    "a .gz of nothing": Refusing(gzip.compress(b""), "the list is empty"),
    "a .gz of a workbook": Refusing(gzip.compress(BOOK), "inside an archive"),
    "a .gz of a .gz": Refusing(gzip.compress(GZIPPED), "inside an archive"),
    "zeros without end": Refusing(gzip.compress(bytes(8 << 20)), "NUL byte", 1),
    "a bad byte inside a .gz": Refusing(gzip.compress(HEAD.encode() + b"\xff\xff,\n"), "byte FF at offset", 3),
    "a .zip cut short": Refusing(ZIPPED[:-30], "damaged or incomplete zip archive"),
    "a .zip with a flipped byte": Refusing(spliced(ZIPPED, 50, b"\xff\xff\xff"), "damaged or incomplete zip archive"),
    "a .zip of nothing": Refusing(zipped({}), "no CSV file is in the archive, but nothing"),
    "a .zip of documents": Refusing(zipped({"a.docx": b"x", "b.pdf": b"y"}), "no CSV file is in the archive, but a.docx, b.pdf"),
    "a .zip with a password": Refusing(flagged(ZIPPED, add=1), "encrypted: unpack it with its password"),
    "a .zip packed by a method of 7-Zip": Refusing(ZIPPED.replace(b"\x08\x08\x00", b"\x08\x09\x00"), "packed by a method"),
    "a .zip of several lists, where one is wanted": Refusing(zipped({"a.csv": HEAD.encode(), "b.csv": HEAD.encode()}), "2 lists are in the archive (a.csv, b.csv"),
    "a .zip of a workbook": Refusing(zipped({"客户.csv": BOOK}), "inside an archive"),
    "a bad row in a .zip": Refusing(zipped({"客户.csv": (HEAD + f'"李四,{B},\n').encode()}), "file 客户.csv, line 3: a quote", 3),
    # Workbooks
    "several sheets with data": Refusing(TWO_SHEETS, "2 sheets hold data; say which one with --sheet:\n  1: 客户 (2 rows)\n  2: 会员 (2 rows)\n  3: 空 (empty)"),
    "a sheet that is not there": Refusing(TWO_SHEETS, "there is no sheet '客'; there are:\n  1: 客户\n", how={"sheet": "客"}),
    "a sheet out of the range": Refusing(TWO_SHEETS, "there is no sheet '4'", how={"sheet": "4"}),
    "a sheet of a CSV": Refusing(HEAD, "this is none", how={"sheet": "1"}),
    "a workbook of empty sheets": Refusing(xlsx({"一": [], "二": []}), "no sheet that is shown has anything in it"),
    "a workbook of one empty sheet": Refusing(xlsx({"一": []}), "sheet 一: no column of mobile numbers"),
    "a workbook cut short": Refusing(BOOK[:-100], "damaged or incomplete"),
    "a workbook with damage inside": Refusing(spliced(BOOK, BOOK.index(b"xl/workbook.xml") + 20, bytes(40)), "damaged"),
    "a workbook with a password": Refusing(protected(), "protected with a password"),
    "a cell at the far end of a sheet": Refusing(xlsx({"一": [[float(A), At("XFD1048576", 1.0)]]}), "does not fit into 4 GiB of memory; a single cell far"),
    "a Word file of old": Refusing(ole({"WordDocument": b"x"}), "a damaged Excel workbook, or none at all"),
    "a Word file": Refusing(zipped({"[Content_Types].xml": b"<x/>", "word/document.xml": b"<x/>"}), "an Office file, but no workbook"),
    "two columns of mobiles in a sheet": Refusing(xlsx({"一": [[float(A), float(B)]]}), "say which one with --column"),
}  # fmt: skip


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len(TAKEN) + len(REFUSED) >= 60


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in TAKEN.items()])
def test_what_is_taken_and_what_is_left_out(tmp_path: Path, case: Taking) -> None:
    path = written(tmp_path, case.content, encoding=case.encoding)
    found = inspect(path, **case.how)
    got = harvested(found)
    assert got.mobiles == case.mobiles
    assert got.reasons == case.reasons
    assert got.extra == case.extra
    if case.lines is not None:
        assert got.lines == case.lines
    careful = harvested(found, quick=False)
    assert (careful.mobiles, careful.lines, careful.reasons) == (got.mobiles, got.lines, got.reasons)


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in REFUSED.items()])
def test_what_is_refused_and_in_which_words(tmp_path: Path, case: Refusing) -> None:
    path = written(tmp_path, case.content, encoding=case.encoding)
    with pytest.raises(IntakeError) as caught:
        taken(path, **case.how)
    assert case.words in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert caught.value.line == case.line


def test_a_gz_is_not_unpacked_beyond_its_bound(tmp_path: Path) -> None:
    rows = "".join(f"{number}\n" for number in mobiles(100_000)).encode()
    given = GivenFile(written(tmp_path, gzip.compress(rows)))
    assert harvested(examined(Gzipped(given, most_bytes=len(rows)))).rows == 100_000
    with pytest.raises(IntakeError, match="unpacks to more than"):
        examined(Gzipped(given, most_bytes=len(rows) - 1))


def test_a_zip_that_declares_more_than_the_bound_is_not_unpacked(tmp_path: Path) -> None:
    rows = f"{A}\n".encode() * 1_000
    two = zipped({"a.csv": rows, "b.csv": rows}).replace(
        len(rows).to_bytes(4, "little"), (3 << 30).to_bytes(4, "little")
    )
    with pytest.raises(IntakeError, match="unpacks to more than 4 GiB"):
        inspect_all([written(tmp_path, two)])


def test_a_member_that_lies_about_its_size_is_damaged(tmp_path: Path) -> None:
    rows = "".join(f"{number}\n" for number in mobiles(1_000)).encode()
    honest = zipped({"a.csv": rows})
    lying = honest.replace(len(rows).to_bytes(4, "little"), (600).to_bytes(4, "little"))
    assert zlib.crc32(rows[:600]) != zlib.crc32(rows)
    with pytest.raises(IntakeError, match="damaged"):
        taken(written(tmp_path, lying))
