"""Files, folders, archives and standard input as lists in one order, and each list by its own name."""

from __future__ import annotations

import array
import fcntl
import gzip
import hashlib
import os
import pickle
import stat
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.errors import IntakeError
from engine.intake import Seen, inspect, inspect_all, read, read_all
from engine.intake.given import STANDARD_INPUT, StandardInput
from engine.lines import pack_lines, tagged, unpack_lines, untagged
from engine.model import Exclusion
from tests.intake.books import xlsx
from tests.intake.lists import flagged, harvested, written, zipped
from tests.numbers import mobiles

A, B, C, D = mobiles(4)


def column(*numbers: str) -> bytes:
    return "".join(f"{cell}\n" for cell in ("手机号", *numbers)).encode()


@contextmanager
def piped(content: bytes) -> Iterator[int]:
    """The reading end of a pipe into which `content` is written by another thread."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield reading
    finally:
        writer.join()
        os.close(reading)


def test_several_files_are_one_list_in_their_order_and_lines_name_their_file(tmp_path: Path) -> None:
    first = written(tmp_path, column(A, B), name="2.csv")
    second = written(tmp_path, column(B, C, "x").decode().encode("utf-16"), name="1.csv")
    found = inspect_all([first, second]).list_files
    chunks = list(read_all(found, seen=Seen()))
    assert [mobile for chunk in chunks for mobile in chunk.mobiles] == [A, B, C]
    assert [untagged(line) for chunk in chunks for line in chunk.lines] == [(0, 2), (0, 3), (1, 3)]
    assert [(untagged(row.line), row.reason) for chunk in chunks for row in chunk.excluded] == [
        ((1, 2), Exclusion.DUPLICATE),
        ((1, 4), Exclusion.INVALID),
    ]
    assert all(chunk.rows + chunk.extra == len(chunk.mobiles) + len(chunk.excluded) for chunk in chunks)


@pytest.mark.parametrize(("source", "line"), [(0, 1), (0, 2**32 - 1), (1, 1), (999, 10_000_000)])
def test_a_line_and_its_list_are_one_integer_that_packs(source: int, line: int) -> None:
    assert untagged(tagged(source, line)) == (source, line)
    assert unpack_lines(pack_lines([tagged(source, line), 7])) == [tagged(source, line), 7]
    assert tagged(0, line) == line


def test_the_last_line_of_a_list_and_the_first_of_the_next_are_no_run() -> None:
    lines = [tagged(0, 5), tagged(1, 1), tagged(1, 2)]
    assert unpack_lines(pack_lines(lines)) == lines


def test_a_folder_is_its_lists_by_name_and_what_is_left_aside_is_told(tmp_path: Path) -> None:
    for name, number in (("b.CSV", B), ("a.csv", A), ("c.txt", C)):
        written(tmp_path, column(number), name=name)
    written(tmp_path, xlsx({"一": [["手机号"], [D]]}), name="d.xlsx")
    for name in (".hidden.csv", "~$d.xlsx", "notes.docx"):
        written(tmp_path, b"x", name=name)
    (tmp_path / "older").mkdir()
    written(tmp_path / "older", column(A))
    found = inspect_all([tmp_path])
    assert [Path(each.path).name for each in found.list_files] == ["a.csv", "b.CSV", "c.txt", "d.xlsx"]
    assert [number for each in found.list_files for number in harvested(each).mobiles] == [A, B, C, D]
    assert [(Path(each.name).name, each.why) for each in found.skipped] == [
        (".hidden.csv", "hidden"),
        ("notes.docx", "not called like a list"),
        ("older", "a folder in the folder"),
        ("~$d.xlsx", "hidden"),
    ]


def test_a_folder_without_a_list_is_refused(tmp_path: Path) -> None:
    written(tmp_path, b"x", name="notes.docx")
    with pytest.raises(IntakeError, match="this is a folder without a list") as caught:
        inspect_all([tmp_path])
    assert caught.value.source == tmp_path


def test_of_several_files_the_bad_one_is_named(tmp_path: Path) -> None:
    good = written(tmp_path, column(A), name="good.csv")
    bad = written(tmp_path, b"\0", name="bad.csv")
    with pytest.raises(IntakeError, match="NUL") as caught:
        inspect_all([good, bad])
    assert caught.value.source == bad


def test_a_named_column_must_be_in_every_file(tmp_path: Path) -> None:
    first = written(tmp_path, f"甲,乙\n{A},{B}\n", name="1.csv")
    second = written(tmp_path, f"甲,丙\n{A},{B}\n", name="2.csv")
    with pytest.raises(IntakeError, match="there is no column '乙'") as caught:
        inspect_all([first, second], column="乙")
    assert caught.value.source == second


def test_the_lists_of_a_zip_are_read_by_name_each_in_its_own_encoding(tmp_path: Path) -> None:
    archive = zipped(
        {
            "二月/客户.csv": column(B).decode().encode("gb18030"),
            "一月.csv": column(A, "x"),
            "说明.pdf": b"%PDF",
            "__MACOSX/._a.csv": b"",
        }
    )
    path = written(tmp_path, archive, name="导出.zip")
    found = inspect_all([path])
    assert [each.inside for each in found.list_files] == ["一月.csv", "二月/客户.csv"]
    assert [each.encoding for each in found.list_files] == ["utf-8", "gb18030"]
    assert [number for each in found.list_files for number in harvested(each).mobiles] == [A, B]
    assert {each.sha256 for each in found.list_files} == {hashlib.sha256(archive).hexdigest()}
    assert {each.size for each in found.list_files} == {len(archive)}
    assert [each.label for each in found.list_files] == [f"{path}, file 一月.csv", f"{path}, file 二月/客户.csv"]
    assert sorted(each.why for each in found.skipped) == ["hidden", "not a CSV, TSV or text file"]


def test_names_in_a_zip_are_read_as_gbk_where_nothing_says_otherwise(tmp_path: Path) -> None:
    path = written(tmp_path, zipped({"客户名单.csv": column(A), "会员.csv": column(B)}, utf8_names=False))
    assert sorted(each.inside for each in inspect_all([path]).list_files) == ["会员.csv", "客户名单.csv"]


def test_names_in_a_zip_of_a_mac_are_utf_8_without_saying_so(tmp_path: Path) -> None:
    path = written(tmp_path, flagged(zipped({"客户.csv": column(A), "b.csv": column(B)}), drop=0x800))
    assert {each.inside for each in inspect_all([path]).list_files} == {"b.csv", "客户.csv"}


def test_a_name_in_a_zip_cannot_write_on_the_terminal(tmp_path: Path) -> None:
    path = written(tmp_path, zipped({"a\x1b[31m.csv": column(A), "": column(B), ".": column(C), "b.csv": column(D)}))
    assert [each.inside for each in inspect_all([path]).list_files] == ["a\ufffd[31m.csv", "b.csv"]


@pytest.mark.parametrize(
    "content",
    [gzip.compress(column(A)), zipped({"a.csv": column(A)}), xlsx({"一": [["手机号"], [float(A)]]})],
    ids=["gz", "zip", "xlsx"],
)
def test_what_is_unpacked_is_guarded_like_a_file(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    found = inspect(path)
    assert (found.sha256, found.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert harvested(found).mobiles == [A]
    assert harvested(pickle.loads(pickle.dumps(found))).mobiles == [A]
    os.utime(path, ns=(0, 0))
    with pytest.raises(IntakeError, match="was changed"):
        next(read(found, seen=Seen()))


def test_a_workbook_does_not_carry_its_rows_to_another_process(tmp_path: Path) -> None:
    rows = [["手机号", "姓名"], *([float(number), f"客户{at}"] for at, number in enumerate(mobiles(50)))]
    found = inspect(written(tmp_path, xlsx({"一": rows})))
    assert "客户49" not in repr(found)
    assert "客户49".encode() not in pickle.dumps(found)


def test_a_long_sheet_comes_in_pieces_that_keep_the_order(tmp_path: Path) -> None:
    numbers = mobiles(9_000)
    found = inspect(written(tmp_path, xlsx({"一": [["手机号"], *([float(number)] for number in numbers)]})))
    got = harvested(found)
    assert got.mobiles == numbers
    assert got.lines == list(range(2, 9_002))


# Standard input ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "content",
    [
        column(A, B),
        gzip.compress(column(A, B)),
        zipped({"a.csv": column(A, B)}),
        xlsx({"一": [["手机号"], [A], [B]]}),
    ],
    ids=["csv", "gz", "zip", "xlsx"],
)
def test_standard_input_may_be_anything_that_a_file_may_be(content: bytes) -> None:
    with piped(content) as fd:
        (found,) = inspect_all([STANDARD_INPUT], stdin_fd=fd).list_files
    assert found.label.startswith("standard input")
    assert (found.sha256, found.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert harvested(found).mobiles == [A, B]
    assert harvested(found).mobiles == [A, B]


def test_standard_input_beside_files(tmp_path: Path) -> None:
    path = written(tmp_path, column(A, B))
    with piped(column(B, C)) as fd:
        found = inspect_all([path, STANDARD_INPUT], stdin_fd=fd).list_files
    chunks = list(read_all(found, seen=Seen()))
    assert [mobile for chunk in chunks for mobile in chunk.mobiles] == [A, B, C]


def test_the_copy_of_standard_input_has_no_name() -> None:
    with piped(column(*mobiles(200_000))) as fd:
        given = StandardInput(fd)
    with given.opened() as file:
        status = os.fstat(file.fileno())
    assert (status.st_nlink, stat.S_IMODE(status.st_mode)) == (0, 0o600)


@pytest.mark.parametrize("content", [column("x"), b"\0", b"\xff"], ids=["no numbers", "binary", "undecodable"])
def test_nothing_of_standard_input_stays_open_after_an_error(content: bytes) -> None:
    open_files = len(os.listdir("/proc/self/fd"))
    with piped(content) as fd:
        with pytest.raises(IntakeError) as caught:
            inspect_all([STANDARD_INPUT], column="2", stdin_fd=fd)
        assert caught.value.source == "standard input"
    del caught
    assert len(os.listdir("/proc/self/fd")) == open_files


def test_standard_input_without_a_byte_is_refused() -> None:
    with piped(b"") as fd, pytest.raises(IntakeError, match="nothing came"):
        inspect_all([STANDARD_INPUT], stdin_fd=fd)


def test_standard_input_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(IntakeError, match="standard input: cannot be read and kept"):
            inspect_all([STANDARD_INPUT], stdin_fd=fd)
    finally:
        os.close(fd)


def test_standard_input_can_be_named_once() -> None:
    with pytest.raises(IntakeError, match="named twice"):
        inspect_all([STANDARD_INPUT, STANDARD_INPUT])


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)

    def write_when_drained() -> None:
        os.write(writing, column(A))
        unread = array.array("i", [1])
        while unread[0]:
            fcntl.ioctl(reading, termios.FIONREAD, unread)
        os.write(writing, f"{B}\n".encode())
        os.close(writing)

    writer = threading.Thread(target=write_when_drained)
    writer.start()
    (found,) = inspect_all([STANDARD_INPUT], stdin_fd=reading).list_files
    writer.join()
    os.close(reading)
    assert harvested(found).mobiles == [A, B]


def test_another_process_knows_standard_input_and_cannot_read_it() -> None:
    with piped(column(A)) as fd:
        (found,) = inspect_all([STANDARD_INPUT], stdin_fd=fd).list_files
    there = pickle.loads(pickle.dumps(found))
    assert (there.label, there.size, there.path) == ("standard input", found.size, STANDARD_INPUT)
    with pytest.raises(IntakeError, match="read only once"):
        next(read(there, seen=Seen()))
