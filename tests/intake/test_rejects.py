"""The file of what was left out: it opens in a spreadsheet, and comes back as a list with every cell as it was."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import IntakeError
from engine.intake import ListFile, RejectsFile, Seen, Texts, inspect, placed, read_all
from engine.intake.columns import OWN_COLUMNS
from engine.intake.harmless import all_harmless, harmless, unharmed
from engine.intake.rejects import as_csv
from engine.model import Excluded, Exclusion, Message
from tests.intake.lists import written
from tests.numbers import mobile, mobiles

ROW = Excluded(line=7, raw="张三", reason=Exclusion.INVALID, detail="characters that do not belong")
A, B, C = mobiles(3)


def a_list(folder: Path, header: str = "姓名,手机号", name: str = "list.csv") -> ListFile:
    return inspect(written(folder, f"{header}\n王,{mobile()},,,\n", name=name))


def cells(line: int) -> list[str]:
    return ["张三", f"cell {line}"]


def shown(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def rejected(folder: Path, *lists: ListFile, name: str = "rejects.csv") -> Path:
    """Reads the lists and writes what is left out."""
    with RejectsFile(folder / name, lists) as rejects:
        for chunk in read_all(lists, seen=Seen()):
            rejects.add(chunk.excluded, chunk.original)
    return folder / name


def test_rows_come_with_their_cells_and_a_spreadsheet_sees_the_encoding(tmp_path: Path) -> None:
    with RejectsFile(tmp_path / "rejects.csv", [a_list(tmp_path)]) as rejects:
        rejects.add([ROW], cells)
        rejects.add([ROW], cells)
    assert rejects.written == 2
    assert rejects.path.read_bytes().startswith(b"\xef\xbb\xbf")
    own = [str(tmp_path / "list.csv"), "7", "invalid", "characters that do not belong"]
    assert shown(rejects.path) == [
        [*OWN_COLUMNS, "姓名", "手机号", "", "", ""],
        *[[*own, "张三", "cell 7", "", "", ""]] * 2,
    ]


def test_only_its_owner_can_read_it_from_the_first_moment(tmp_path: Path) -> None:
    lists = [a_list(tmp_path)]
    before = os.umask(0)
    try:
        with RejectsFile(tmp_path / "rejects.csv", lists) as rejects:
            rejects.add([ROW], cells)
            (partial,) = tmp_path.glob(".rejects*")
            assert stat.S_IMODE(partial.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert stat.S_IMODE(rejects.path.stat().st_mode) == 0o600


def test_nothing_to_write_means_no_file(tmp_path: Path) -> None:
    lists = [a_list(tmp_path)]
    with RejectsFile(tmp_path / "rejects.csv", lists) as rejects:
        rejects.add([], cells)
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]


def test_an_abandoned_one_leaves_the_file_before_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    path.write_text("of an earlier plan")
    rejects = RejectsFile(path, [a_list(tmp_path)])
    with contextlib.suppress(LookupError), rejects:
        rejects.add([ROW], cells)
        raise LookupError("planning failed")
    assert rejects.written == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["list.csv", "rejects.csv"]
    assert path.read_text() == "of an earlier plan"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(IntakeError, match="cannot be written"),
        RejectsFile(tmp_path / "none" / "rejects.csv", [a_list(tmp_path)]) as rejects,
    ):
        rejects.add([ROW], cells)


def test_several_lists_stand_side_by_side_and_share_the_column_of_numbers(tmp_path: Path) -> None:
    one = inspect(written(tmp_path, f"姓名,手机号,城市\n王,{A},北京\n李,12,上海\n", name="1.csv"))
    two = inspect(written(tmp_path, f"mobile;城市;等级\n{B};广州;金\n13;深圳;银\n", name="2.csv"))
    header, *rows = shown(rejected(tmp_path, one, two))
    assert header[4:] == ["姓名", "手机号", "城市", "等级"]
    assert [row[1:3] + row[4:] for row in rows] == [
        ["3", "invalid", "李", "12", "上海", ""],
        ["3", "invalid", "", "13", "深圳", "银"],
    ]


def test_a_shifted_row_as_wide_as_all_lists_together_keeps_the_places_of_its_list(tmp_path: Path) -> None:
    first = inspect(written(tmp_path, f"手机号,姓名\n{A},王\nx,李,多\n", name="first.csv"))
    second = inspect(written(tmp_path, f"手机号,姓名,城市\n{B},王,沪\nx,李,沪\n", name="second.csv"))
    header, shifted, whole = shown(rejected(tmp_path, first, second))
    assert header[4:] == ["手机号", "姓名", "城市"]
    assert (shifted[2], shifted[4:]) == ("malformed", ["x", "李", "", "多"])
    assert (whole[2], whole[4:]) == ("invalid", ["x", "李", "沪"])


def test_a_list_without_a_header_gets_one_that_keeps_the_places_as_names(tmp_path: Path) -> None:
    plain = inspect(written(tmp_path, f"王,{A},x\n李,12,y\n"))
    path = rejected(tmp_path, plain)
    assert shown(path)[0][4:] == ["1", "手机号", "3"]
    again = inspect(path)
    assert placed(["1", "3"], header=again.header, width=again.width, source="") == (4, 6)


def test_a_row_of_shifted_columns_is_malformed_again_until_it_is_repaired(tmp_path: Path) -> None:
    path = rejected(tmp_path, inspect(written(tmp_path, f"姓名,手机号\n王,{A}\n李,{B},a,b\n")))
    (chunk,) = read_all([inspect(path)], seen=Seen())
    assert [row.reason for row in chunk.excluded] == [Exclusion.MALFORMED]


def test_rejects_of_rejects_name_the_file_they_were_in_last(tmp_path: Path) -> None:
    first = rejected(tmp_path, inspect(written(tmp_path, f"姓名,手机号\n王,{A}\n=李,12\n")))
    second = rejected(tmp_path, inspect(first), name="second.csv")
    header, row = shown(second)
    assert header == [*OWN_COLUMNS, "姓名", "手机号"]
    assert row[:2] == [str(first), "2"]
    assert row[4:] == ["'=李", "12"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12), min_size=1, max_size=8))
def test_repaired_rows_come_back_with_every_cell_as_it_was(tmp_path: Path, texts: list[str]) -> None:
    with (tmp_path / "list.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["姓名", "手机号"])
        writer.writerow(["王", C])
        writer.writerows([text, "123"] for text in texts)
    path = rejected(tmp_path, inspect(tmp_path / "list.csv"))
    repaired = path.read_text(encoding="utf-8-sig")
    for number in mobiles(len(texts), seed=2):  # one after the other
        repaired = repaired.replace(",123\n", f",{number}\n", 1)
    again = inspect(written(tmp_path, repaired, name="repaired.csv"))

    def say(columns: Sequence[Sequence[str]]) -> list[Message]:
        return [Message(cell, 1, 1) for cell in columns[0]]

    told = [
        text.content
        for chunk in read_all([again], seen=Seen(), texts=[Texts(placed(["姓名"], header=again.header, width=again.width, source=""), say)])
        for text in chunk.texts or []
    ]  # fmt: skip
    assert told == texts


@pytest.mark.parametrize("cell", ['=cmd|"/c calc"!A1', "+SUM(A1)", "-1+A1", "@now", "\t=1", "\r=1", "'=1", "''-a"])
def test_a_cell_that_a_spreadsheet_would_compute_is_text(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "张三", "010-88886666", f"+86{mobile()}", f"+86 {mobile()}", "1.38E+10", "'a"])
def test_a_number_stays_as_it_was_written(cell: str) -> None:
    assert harmless(cell) == cell


@given(st.text() | st.text(alphabet="'=+-@1 \t\n"))
def test_what_was_made_harmless_is_taken_back_exactly(cell: str) -> None:
    assert unharmed(harmless(cell)) == cell


@given(st.lists(st.one_of(st.text(max_size=3), st.text(alphabet="'=+-@\t\r\n1x", max_size=4)), max_size=5))
def test_a_row_is_made_harmless_cell_by_cell(row: list[str]) -> None:
    assert list(all_harmless(row)) == [harmless(cell) for cell in row]


@given(st.lists(st.one_of(st.text(max_size=3), st.text(alphabet=',"\r\n x;\t', max_size=4)), min_size=2, max_size=5))
def test_a_row_is_written_as_csv_would(row: list[str]) -> None:
    expected = io.StringIO()
    csv.writer(expected).writerow(row)
    assert f"{as_csv(row)}\r\n" == expected.getvalue()
    assert f"{as_csv(row[:1])},{as_csv(row[1:])}\r\n" == expected.getvalue()
