"""The first page of the help, which is drawn without the parser: it looks as if the parser had drawn it."""

from __future__ import annotations

import re

import pytest

from engine.cli.front import front_page
from engine.cli.pages import _cells
from tests.cli.desk import Desk

_COLOURS = re.compile("\x1b\\[[0-9;]*m")


async def shown(desk: Desk, *words: str, **environ: str) -> list[str]:
    """The lines of a page, without the blanks at their ends."""
    end = await desk.run(*words, environ={"TERM": "xterm", **environ})
    assert end.code == 0, end.errors
    return [line.rstrip() for line in end.output.splitlines()]


@pytest.mark.parametrize("width", ["60", "80", "133"])
async def test_it_is_the_page_that_the_parser_draws(desk: Desk, width: str) -> None:
    first = await shown(desk, "--help", COLUMNS=width)
    assert first == await shown(desk, "--help", "--", COLUMNS=width)  # more words are the parser's
    assert first == await shown(desk, "-h", COLUMNS=width) == await shown(desk, COLUMNS=width)
    assert len(first[6]) == int(width)


async def test_in_chinese_it_says_the_same_and_no_line_begins_with_a_stop(desk: Desk) -> None:
    first = await shown(desk, "--help", COLUMNS="60", XINSHI_LANG="zh")
    drawn = await shown(desk, "--help", "--", COLUMNS="60", XINSHI_LANG="zh")
    assert _words(first) == _words(drawn)
    box = [line for line in first if line.startswith("│")]
    assert {_cells(line) for line in box} == {60}
    assert not [line for line in box if re.match(r"│ +[，。、；：]", line)]


def _words(lines: list[str]) -> str:
    return re.sub(r"[\s│]", "", "".join(lines))


async def test_an_encoding_without_the_box_gets_another(desk: Desk) -> None:
    environ = {"COLUMNS": "80", "PYTHONIOENCODING": "ascii"}
    end = await desk.run("--help", environ=environ, anew=True)
    assert [line[0] for line in end.output.splitlines()[5:8]] == ["+", "|", "|"]


def test_a_terminal_narrower_than_the_names_still_gets_every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "8")
    page = front_page("What it is.", {"send": "Sends to people."}, "Codes.")
    assert " ".join(re.sub("[│]|send", " ", page).split()).count("Sends to people.") == 1
