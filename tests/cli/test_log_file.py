"""The log file: JSON lines, 0600, rotated, shared by commands, and nothing in it that must not be."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from engine.telemetry import LogFile, _RotatingFile
from tests.cli.desk import PASSWORD, TEXT, Desk
from tests.numbers import mobile

WORDS = ("--campaign", "spring", "--batch-size", "10", "--requests-per-second", "0", "--json")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def test_a_campaign_is_logged_from_its_plan_to_its_end(desk: Desk) -> None:
    desk.configure('[log]\nfile = "logs/xinshi.log"\n')
    numbers = desk.list(20)
    end = await desk.run(*desk.order(*WORDS))
    assert (end.code, end.errors.count("sending begins")) == (0, 0)  # the terminal shows what it always did
    path = desk.folder / "config" / "xinshi" / "logs" / "xinshi.log"
    logged = lines(path)
    assert [each["message"] for each in logged] == [
        "a campaign was planned",
        "sending begins",
        "the campaign ended",
    ]
    assert {each["campaign"] for each in logged} == {"spring"}
    assert logged[1]["recipients"] == 20
    assert path.stat().st_mode & 0o777 == 0o600
    for secret in (*numbers, TEXT, PASSWORD, desk.sim.url):
        assert secret not in path.read_text(encoding="utf-8")


async def test_the_level_decides_what_is_in_it(desk: Desk) -> None:
    desk.configure('[log]\nfile = "xinshi.log"\nlevel = "warning"\n')
    desk.list(20)
    assert (await desk.run(*desk.order(*WORDS, "-v"))).errors.count("sending begins") == 1
    assert (desk.folder / "config" / "xinshi" / "xinshi.log").read_text() == ""


async def test_how_a_command_failed_is_logged_without_its_words(desk: Desk) -> None:
    desk.configure(f'[log]\nfile = "{desk.folder}/xinshi.log"\n')
    end = await desk.run("run", "nothing")
    assert end.code == 2
    (line,) = lines(desk.folder / "xinshi.log")
    assert (line["message"], line["error"], line["code"]) == ("the command failed", "PlanError", 2)


async def test_a_log_that_cannot_be_opened_is_a_setting_to_mend(desk: Desk) -> None:
    desk.write("blocked", "")
    desk.configure(f'[log]\nfile = "{desk.folder}/blocked/xinshi.log"\n')
    end = await desk.run("balance")
    assert end.code == 2
    assert "log.file: " in end.errors
    assert "cannot be opened" in end.errors


@pytest.fixture
def made(tmp_path: Path) -> Any:
    handlers: list[_RotatingFile] = []

    def make(max_bytes: int = 400, keep: int = 2) -> _RotatingFile:
        file = LogFile(path=tmp_path / "x.log", level=logging.INFO, max_bytes=max_bytes, keep=keep)
        handlers.append(_RotatingFile(file))
        return handlers[-1]

    yield make
    for handler in handlers:
        handler.close()


def say(handler: _RotatingFile, words: str) -> None:
    handler.emit(logging.makeLogRecord({"name": "xinshi", "msg": words, "levelno": logging.INFO, "levelname": "INFO"}))


def test_a_full_file_makes_room_and_the_oldest_goes(made: Any, tmp_path: Path) -> None:
    handler = made()
    for number in range(40):
        say(handler, f"line {number} {'x' * 60}")
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["x.log", "x.log.1", "x.log.2"]
    assert all(path.stat().st_mode & 0o777 == 0o600 and path.stat().st_size <= 400 for path in tmp_path.iterdir())
    assert "line 39" in (tmp_path / "x.log").read_text()


def test_two_processes_write_to_the_same_file_whoever_begins_a_new_one(made: Any, tmp_path: Path) -> None:
    first, second = made(), made()
    say(second, "begin")
    for number in range(6):
        say(first, f"first {number} {'x' * 100}")
    say(second, "after")
    assert (tmp_path / "x.log").read_text().splitlines()[-1] == "after"


def test_numbers_are_masked(made: Any, tmp_path: Path) -> None:
    say(made(), f"for {mobile()}")
    assert mobile() not in (tmp_path / "x.log").read_text()


def test_a_log_that_cannot_be_written_is_said_once_and_stops_nothing(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = made()
    say(handler, "begin")
    (tmp_path / "x.log").unlink()
    (tmp_path / "x.log").mkdir()
    for _ in range(3):
        say(handler, "nowhere")
    assert capsys.readouterr().err.count("the log file cannot be written: ") == 1
