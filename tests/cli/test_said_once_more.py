"""What is said when an order comes again, and in the small places where a new user looks first."""

from __future__ import annotations

import dataclasses
import re
from unicodedata import east_asian_width

import pytest

from engine.simulator.__main__ import texts
from engine.simulator.settings import Fault, SimulatorSettings, said_of
from tests.cli.desk import Desk


async def test_a_finished_order_that_comes_again_sends_nothing_and_says_so(desk: Desk) -> None:
    numbers = desk.list(3)
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0

    again = await desk.run(*desk.order())
    added = await desk.run("send", "list.csv", "--add-to", "spring", "--yes")

    assert (again.code, added.code) == (0, 0)
    assert "it is the campaign 'spring'. All of it was sent before: nothing goes out now.\n" in again.errors
    assert "--again" in again.errors
    assert "nothing is added. All of it was sent before: nothing goes out now.\n" in added.errors
    desk.check_once(numbers)


async def test_what_is_said_of_a_campaign_with_a_list_it_has_counts(desk: Desk) -> None:
    desk.list(30)
    assert (await desk.run(*desk.order("--campaign", "spring", "--limit", "10", "--batch-size", "10"))).code == 75
    again = await desk.run("send", "list.csv", "--add-to", "spring", "--yes", "--keep-points", "9999990")
    assert again.code == 75, again.errors
    assert desk.rows("SELECT keep_points FROM campaign") == [(99_999_900_000,)]
    assert desk.truth["accepted_numbers"] == 10


async def test_an_order_with_a_rest_says_that_the_rest_goes_out(desk: Desk) -> None:
    numbers = desk.list(30)
    assert (await desk.run(*desk.order("--campaign", "spring", "--limit", "10", "--batch-size", "10"))).code == 75

    again = await desk.run(*desk.order("--batch-size", "10"))

    assert again.code == 0, again.errors
    assert "What is left of it goes out now, and nothing twice.\n" in again.errors
    desk.check_once(numbers)


async def test_a_cancelled_order_that_comes_again_has_ended(desk: Desk) -> None:
    desk.list(30)
    assert (await desk.run(*desk.order("--campaign", "spring", "--limit", "10", "--batch-size", "10"))).code == 75
    assert (await desk.run("cancel", "spring")).code == 0

    again = await desk.run(*desk.order("--batch-size", "10"))

    assert "It has ended: nothing is left of it, and nothing goes out now.\n" in again.errors
    assert desk.truth["accepted_numbers"] == 10


async def test_of_a_finished_campaign_nothing_is_paused_resumed_or_cancelled(desk: Desk) -> None:
    desk.list(3)
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0

    for verb in ("pause", "resume", "cancel"):
        end = await desk.run(verb, "spring")
        assert (end.code, end.output) == (0, f"spring is finished: nothing of it is left to {verb}\n"), end.errors
        assert (await desk.run("status", "spring", "--json")).json["state"] == "finished"


async def test_check_says_of_sqlite_that_it_is_fine(desk: Desk) -> None:
    end = await desk.run("check")

    (line,) = [line for line in end.output.splitlines() if line.startswith("SQLite")]
    assert line.endswith(", fine for the journal: only one process writes to it at a time")


async def test_the_help_names_every_exit_code(desk: Desk) -> None:
    words = " ".join((await desk.run("--help")).output.split())
    for code in ("0 all accepted", "1 internal error, or an audit found a broken law", "2 usage", "75 paused"):
        assert code in words


async def test_a_batch_without_a_word_about_it_names_the_words(desk: Desk) -> None:
    desk.list(3)
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0

    end = await desk.run("settle", "spring", "--batch", "3")

    assert end.code == 2
    assert end.errors == "xinshi: --batch 3 wants your word: --assume taken, or --assume not-taken, with a --reason\n"


async def test_the_simulator_explains_itself_under_the_name_it_was_called_by(desk: Desk) -> None:
    end = await desk.run("simulator", "--help")
    words = " ".join(end.output.split())

    assert end.code == 0
    assert end.output.startswith("usage: xinshi simulator ")
    assert "python -m" not in end.output
    assert "xinshi simulator --fault drop_answer=0.05" in words
    for expected in (
        "--points N the opening balance [default: 10000000]",
        "drop_answer taken, then RST instead of an answer",
    ):
        assert expected in words
    wrong = await desk.run("simulator", "--fault", "nonsense=1")
    assert wrong.errors.startswith("usage: xinshi simulator ")


async def test_the_simulator_explains_itself_in_chinese_too(desk: Desk) -> None:
    end = await desk.run("simulator", "--help", "--lang", "zh", environ={"COLUMNS": "80"})

    assert end.output.startswith("用法：xinshi simulator ")
    assert "  --points N            初始余额 [默认：10000000]\n" in end.output
    assert re.search("^  drop_answer +已受理，随后以 RST 代替应答$", end.output, re.MULTILINE)
    assert [
        text for text in texts() if len(text) > 12 and text.isascii() and text in " ".join(end.output.split())
    ] == []
    options = end.output.partition("\n选项")[2].partition("\n故障")[0].splitlines()
    wide = [line for line in options if len(line) + sum(east_asian_width(sign) in "WF" for sign in line) > 80]
    assert (len(options) > 60, wide) == (True, [])


@pytest.mark.parametrize("kind", [SimulatorSettings, Fault])
def test_every_word_of_the_simulator_is_explained(kind: type) -> None:
    names = [each.name for each in dataclasses.fields(kind)] if kind is SimulatorSettings else list(Fault.__members__)
    assert [name for name in names if name not in said_of(kind) and name != "faults"] == []
