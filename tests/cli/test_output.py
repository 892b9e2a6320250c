"""Pages on standard output, everything else beside it; what a terminal shows, and what a pipe does not."""

from __future__ import annotations

import asyncio
import os
import pty
import re
from unicodedata import east_asian_width

import pytest

from tests.cli.desk import TEXT, Desk, children, command_line, during, ended, until
from tests.numbers import mobile

ESCAPE = "\x1b"


def columns_of(page: str) -> set[int]:
    """The cells at which the second column of a page begins."""
    return {_cells(line[: found.end()]) for line in page.splitlines() if (found := re.match(r" *\S+( \S+)*  +", line))}


def _cells(text: str) -> int:
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)


async def test_a_page_is_one_grid_with_the_words_of_the_gateway_and_a_next_step(desk: Desk) -> None:
    desk.write("list.csv", f"姓名,手机号\n王,{mobile()}\n李,123\n")
    desk.sim.set_faults({"faild_credentials": 1})

    end = await desk.run(*desk.order("--campaign", "春季 1"))

    assert "「用户名或密码错误」 (user name or password is wrong)" in end.output
    assert "Go on with: xinshi run '春季 1'" in end.output
    words = [line for line in end.output.splitlines() if line.startswith(("campaign", "state", "journal"))]
    assert len(words) == 3
    assert len(columns_of("\n".join(words))) == 1
    assert ESCAPE not in end.output + end.errors


async def test_the_next_step_leads_to_the_same_journal(desk: Desk) -> None:
    desk.list(10)
    config = str(desk.configure())

    end = await desk.run(
        *desk.order(
            "--campaign", "spring", "--limit", "5", "--batch-size", "5", "--journal", "my.db", "--config", config
        )
    )

    step = next(line for line in end.output.splitlines() if line.startswith("Go on with: xinshi "))
    assert (await desk.run(*step.removeprefix("Go on with: xinshi ").split())).code == 0
    assert desk.truth["accepted_numbers"] == 10


async def test_off_a_terminal_there_is_the_page_and_nothing_else(desk: Desk) -> None:
    desk.list(10)

    plan = await desk.run("plan", "list.csv", "--text", TEXT)
    send = await desk.run(*desk.order("--campaign", "spring"))

    assert plan.output.startswith("\ncampaign ")
    assert "plan hash" in send.errors  # the preview is not the result
    assert send.output.startswith("\ncampaign ")
    assert "finished" in send.output
    assert ESCAPE not in plan.output + plan.errors + send.output + send.errors


async def test_quiet_says_nothing_unless_it_goes_wrong(desk: Desk) -> None:
    desk.list(10)

    good = await desk.run(*desk.order("-q"))
    bad = await desk.run(*desk.order("-q", name="none.csv"))

    assert (good.code, good.output, good.errors) == (0, "", "")
    assert (bad.code, bad.output) == (2, "")
    assert "none.csv" in bad.errors


@pytest.mark.parametrize("settings", [{"latency_s": 0.6}], indirect=True)
@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
async def test_a_terminal_shows_progress_and_colour_only_where_it_is_wanted(
    desk: Desk, environ: dict[str, str], coloured: bool
) -> None:
    desk.list(10)
    reading, terminal = pty.openpty()
    process = await desk.start(
        *desk.order("--batch-size", "5"), environ={"TERM": "xterm", "COLUMNS": "120", **environ}, stderr=terminal
    )
    os.close(terminal)
    shown = await asyncio.to_thread(_everything, reading)
    end = await ended(process)

    assert end.code == 0
    assert "5/10 accepted" in shown
    assert bool(re.search(ESCAPE + r"\[[0-9;]*3[0-9](;|m)", shown)) is coloured
    assert "finished" in end.output
    assert ESCAPE not in end.output


def _everything(terminal: int) -> str:
    """What a terminal is shown until the program ends. Linux says so with EIO."""
    shown = b""
    try:
        while piece := os.read(terminal, 65536):
            shown += piece
    except OSError:
        pass
    finally:
        os.close(terminal)
    return shown.decode()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_a_reader_that_goes_away_ends_no_campaign(desk: Desk, stream: str) -> None:
    numbers = desk.list(5)
    reading, writing = os.pipe()
    os.close(reading)
    process = await desk.start(*desk.order(), **{stream: writing})
    os.close(writing)
    end = await ended(process)

    assert end.code == 0
    desk.check_once(numbers)


async def test_a_terminal_without_chinese_ends_no_campaign(desk: Desk) -> None:
    numbers = desk.list(5)

    page = await desk.run(*desk.order("--campaign", "春季"), environ={"PYTHONIOENCODING": "ascii"})
    json = await desk.run("status", "春季", "--json", environ={"PYTHONIOENCODING": "ascii"})

    assert (page.code, json.code) == (0, 0)
    assert "\\u6625\\u5b63" in page.output
    assert json.json["campaign"] == "春季"
    desk.check_once(numbers)


async def test_the_demo_goes_the_whole_way_and_never_to_the_operator_s_own_gateway(desk: Desk) -> None:
    environ = {"TMPDIR": str(desk.folder), "XINSHI_ACCOUNT__URL": desk.sim.url, "XINSHI_JOURNAL__URL": "/proc/x.db"}
    end = await desk.run("demo", "--rows", "2000", "--json", environ=environ)

    assert (end.code, end.json["state"], end.json["rows"]) == (0, "finished", 2000)
    assert end.json["points"]["unexplained"] == 0
    assert "Note:" not in end.errors
    assert (desk.truth["requests"], desk.truth["calls"]) == (0, {})
    step = next(line for line in end.errors.splitlines() if line.startswith("Look at it again:"))
    again = await desk.run(*step.split("xinshi ", 1)[1].split(), "--json")
    assert again.output == end.output


EXPORTS = (("optouts", "export", "-"), ("export", "spring", "--output", "-"), ("report", "spring", "--html", "-"))


async def test_a_reader_who_has_seen_enough_of_an_export_makes_no_error_of_it(desk: Desk) -> None:
    numbers = desk.list(5)
    await desk.run(*desk.order("--campaign", "spring"))
    await desk.run("optouts", "add", numbers[0])
    for words in EXPORTS:
        reading, writing = os.pipe()
        os.close(reading)
        end = await desk.run(*words, stdout=writing)
        os.close(writing)
        assert (end.code, end.errors) == (0, ""), words


async def test_an_export_for_which_there_is_no_room_says_so(desk: Desk) -> None:
    numbers = desk.list(5)
    await desk.run(*desk.order("--campaign", "spring"))
    await desk.run("optouts", "add", numbers[0])
    for words in EXPORTS:
        with open("/dev/full", "wb") as full:
            end = await desk.run(*words, stdout=full.fileno())
        assert (end.code, "standard output cannot be written: No space left on device" in end.errors) == (2, True), (
            words
        )


async def test_a_demo_that_is_ended_leaves_no_gateway_running(desk: Desk) -> None:
    process = await desk.start("demo", "--rows", "200000", environ={"TMPDIR": str(desk.folder)})
    await during(process, until(lambda: simulators_of(process.pid)))
    simulators = simulators_of(process.pid)
    process.terminate()
    assert (await ended(process)).code == 143
    await until(lambda: not any("engine.simulator" in command_line(each) for each in simulators))


def simulators_of(pid: int) -> list[int]:
    return [each for each in children(pid) if "engine.simulator" in command_line(each)]
