"""A journal that cannot be had, read or written: said in words, and whatever the gateway took is still known."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from engine.journal.lock import journal_lock
from tests.cli.desk import Desk


async def test_in_use_by_another_process_is_75_with_its_id(desk: Desk) -> None:
    desk.list(5)
    desk.journal.parent.mkdir(parents=True)
    lock = journal_lock(desk.journal)
    try:
        end = await desk.run(*desk.order())
    finally:
        lock.release()

    assert (end.code, end.output, desk.truth["requests"]) == (75, "", 0)
    assert f"process {os.getpid()} is using the journal {desk.journal}" in end.errors


async def test_a_folder_in_its_place_is_refused_with_a_better_name(desk: Desk) -> None:
    desk.list(5)

    for words in (desk.order(), ("status",)):
        end = await desk.run(*words, "--journal", str(desk.folder))
        assert (end.code, end.output, desk.truth["requests"]) == (2, "", 0)
        assert f"{desk.folder} is a folder" in end.errors


async def test_a_place_where_nothing_can_be_written(desk: Desk) -> None:
    desk.list(5)

    end = await desk.run(*desk.order("--journal", "/proc/xinshi.db"))

    assert (end.code, end.output, desk.truth["requests"]) == (75, "", 0)
    assert "/proc/xinshi.db" in end.errors


@pytest.mark.parametrize("words", [("status",), ("send",)])
async def test_another_program_s_file_is_left_alone(desk: Desk, words: tuple[str, ...]) -> None:
    desk.list(5)
    path = desk.write("letter.txt", "Dear customers, " * 100)

    end = await desk.run(*(desk.order() if words == ("send",) else words), "--journal", str(path))

    assert (end.code, end.output, desk.truth["requests"]) == (75, "", 0)
    assert "not a journal" in end.errors
    assert path.read_text() == "Dear customers, " * 100


async def test_one_of_a_newer_program_is_left_alone(desk: Desk) -> None:
    desk.list(5)
    desk.list(5, seed=2, name="second.csv")
    await desk.run(*desk.order("--campaign", "spring"))
    with closing(sqlite3.connect(desk.journal)) as journal, journal:
        journal.execute("UPDATE alembic_version SET version_num = '9999'")

    for words in (desk.order(name="second.csv"), ("status",)):
        end = await desk.run(*words)
        assert (end.code, end.output) == (2, "")
        assert "newer program" in end.errors
        assert "9999" in end.errors
    assert desk.truth["accepted_numbers"] == 5
    assert desk.campaigns() == ["spring"]


async def test_locked_by_a_foreign_program_is_75_and_nothing_is_sent(desk: Desk) -> None:
    desk.list(5)
    desk.list(5, seed=2, name="second.csv")
    await desk.run(*desk.order("--campaign", "spring"))
    with closing(sqlite3.connect(desk.journal, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        end = await desk.run(*desk.order(name="second.csv"))

    assert (end.code, end.output) == (75, "")
    assert "another program is writing" in end.errors
    assert desk.truth["accepted_numbers"] == 5


async def test_a_full_disk_before_the_first_request_sends_nothing(desk: Desk) -> None:
    desk.list(5)

    end = await desk.run(*desk.order(), under=with_files_up_to(16))

    assert (end.code, end.output, desk.truth["requests"]) == (75, "", 0)
    assert "disk" in end.errors


async def test_a_full_disk_while_sending_ends_the_run_and_the_rest_goes_out_later(desk: Desk) -> None:
    desk.list(60)

    words = ("--campaign", "spring", "--batch-size", "1", "--in-flight", "2", "--requests-per-second", "0", "--json")
    end = await desk.run(*desk.order(*words), under=with_files_up_to(450))
    taken = desk.truth["accepted_numbers"]
    rest = await desk.run("run", "spring", "--requests-per-second", "0", "--json")

    assert (end.code, end.output) == (75, "")
    assert "disk" in end.errors
    assert 0 < taken < 60
    recipients = rest.json["recipients"]
    assert rest.code in (0, 4)  # 4: what the last requests came to could not be written down any more
    assert recipients["accepted"] + recipients["in_doubt"] == 60
    assert desk.truth["twice"] == 0
    assert recipients["accepted"] <= desk.truth["accepted_numbers"] <= 60


def with_files_up_to(kib: int) -> tuple[str, ...]:
    """The nearest thing to a full disk that needs no rights: writes beyond this size fail.

    Python would leave the compiled modules cut at this size, and nobody could load them any more.
    """
    return ("bash", "-c", f'ulimit -f {kib}; PYTHONDONTWRITEBYTECODE=1 exec "$@"', "sh")
