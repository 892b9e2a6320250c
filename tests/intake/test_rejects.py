"""The file of what was left out."""

from __future__ import annotations

import contextlib
import csv
import os
import stat
from pathlib import Path

import pytest

from engine.errors import IntakeError
from engine.intake import RejectsFile
from engine.intake.rejects import harmless
from engine.model import Excluded, Exclusion
from tests.numbers import mobile

ROW = Excluded(line=7, raw="张三", reason=Exclusion.INVALID, detail="characters that do not belong")


def test_rows_can_be_read_back_and_a_spreadsheet_sees_the_encoding(tmp_path: Path) -> None:
    with RejectsFile(tmp_path / "rejects.csv") as rejects:
        rejects.add([ROW])
        rejects.add([ROW])
    assert rejects.written == 2
    assert rejects.path.read_bytes().startswith(b"\xef\xbb\xbf")
    with rejects.path.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [
            ["line", "number", "reason", "detail"],
            *[["7", "张三", "invalid", "characters that do not belong"]] * 2,
        ]


def test_only_its_owner_can_read_it_from_the_first_moment(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with RejectsFile(tmp_path / "rejects.csv") as rejects:
            rejects.add([ROW])
            (partial,) = tmp_path.iterdir()
            assert stat.S_IMODE(partial.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert stat.S_IMODE(rejects.path.stat().st_mode) == 0o600


def test_nothing_to_write_means_no_file(tmp_path: Path) -> None:
    with RejectsFile(tmp_path / "rejects.csv") as rejects:
        rejects.add([])
    assert list(tmp_path.iterdir()) == []


def test_an_abandoned_one_leaves_the_file_before_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    path.write_text("of an earlier plan")
    rejects = RejectsFile(path)
    with contextlib.suppress(LookupError), rejects:
        rejects.add([ROW])
        raise LookupError("planning failed")
    assert rejects.written == 1
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("rejects.csv", "of an earlier plan")]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(IntakeError, match="cannot be written"),
        RejectsFile(tmp_path / "none" / "rejects.csv") as rejects,
    ):
        rejects.add([ROW])


@pytest.mark.parametrize("cell", ['=cmd|"/c calc"!A1', "+SUM(A1)", "-1+A1", "@now", "\t=1", "\r=1"])
def test_a_cell_that_a_spreadsheet_would_compute_is_text(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "张三", "010-88886666", f"+86{mobile()}", f"+86 {mobile()}", "1.38E+10"])
def test_a_number_stays_as_it_was_written(cell: str) -> None:
    assert harmless(cell) == cell
