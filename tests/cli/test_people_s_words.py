"""Words for people: one is one, a minus is a minus, and a line of the preview fits into a terminal."""

from __future__ import annotations

import re
from unicodedata import east_asian_width

import pytest

from engine.cli.checking import free_words, no_room
from tests.cli.desk import TEXT, Desk
from tests.numbers import mobile, mobiles

PLURAL_OF_ONE = re.compile(
    r"\b1 (recipients|batches|opt-outs|attempts|numbers|rows|lines|campaigns|columns|lists|people)\b"
)


async def test_one_is_not_many(desk: Desk) -> None:
    (number,) = desk.list(1)
    desk.list(1, seed=2, name="more.csv")
    said = [
        await desk.run(*desk.order("--campaign", "spring")),
        await desk.run("status", "spring"),
        await desk.run("audit", "spring"),
        await desk.run("optouts", "add", number),
        await desk.run("optouts", "export", "out.csv"),
        await desk.run("export", "spring", "--output", "results.csv"),
        await desk.run("report", "spring", "--html", "-"),
        await desk.run("plan", "more.csv", "--text", TEXT, "--exclude", "list.csv"),
        await desk.run("optouts", "remove", number),
    ]

    assert {end.code for end in said} == {0}
    for end in said:
        assert not PLURAL_OF_ONE.findall(end.output + end.errors), end
    everything = "".join(end.output + end.errors for end in said)
    for words in (
        "1 opt-out recorded",
        "1 opt-out removed",
        "1 line written",
        "1 number of list.csv",
        "1 attempt, written",
    ):
        assert words in everything


async def test_of_several_numbers_the_wrong_one_is_named(desk: Desk) -> None:
    (number,) = desk.list(1)
    for verb in ("add", "remove"):
        end = await desk.run("optouts", verb, number, "1390000")
        assert (end.code, "1390000: too short" in end.errors) == (2, True), end.errors


async def test_the_preview_names_the_column_of_numbers_that_is_not_read(desk: Desk) -> None:
    desk.write("list.csv", f"手机号,推荐人\n{mobile(1)},{mobile(2)}\n{mobile(3)},\n")
    end = await desk.run("plan", "list.csv", "--text", TEXT)
    assert "numbers stand in 推荐人 as well; they are not read" in end.output, end.output


def test_a_disk_without_room_is_a_problem_and_little_room_is_told_in_megabytes() -> None:
    assert (free_words(147_000_000), free_words(69_900_000_000)) == ("147 MB free", "69.9 GB free")
    assert no_room(25_000_000) is None
    assert "19 MB free" in str(no_room(19_000_000))


async def test_times_read_well_in_chinese(desk: Desk) -> None:
    desk.list(1)
    order = ("plan", "list.csv", "--text", TEXT, "--at", "2099-12-01 09:00", "--lang", "zh")
    (line,) = [line for line in (await desk.run(*order)).output.splitlines() if line.startswith("  结束")]
    assert line.count("结束") == 1, line


@pytest.mark.parametrize("settings", [{"faults": {"drop_answer": 1}}], indirect=True)
async def test_one_doubt_is_not_many(desk: Desk) -> None:
    desk.list(1)
    sent = await desk.run(*desk.order("--campaign", "spring"))
    settled = await desk.run("settle", "spring")
    assumed = await desk.run("settle", "spring", "--batch", "1", "--assume", "taken", "--reason", "asked the vendor")

    assert (sent.code, settled.code, assumed.code) == (4, 4, 0), assumed.errors
    assert "Still in doubt: 1 batch." in settled.output
    assert "batch 1, 1 recipient: " in settled.output
    assert "1 recipient, " in assumed.output
    for end in (sent, settled, assumed):
        assert not PLURAL_OF_ONE.findall(end.output + end.errors), end


async def test_several_are_many(desk: Desk) -> None:
    numbers = desk.list(3)
    recorded = await desk.run("optouts", "add", *numbers[:2])

    assert recorded.output == "2 opt-outs recorded\n"


async def test_points_that_go_have_the_minus_of_every_keyboard(desk: Desk) -> None:
    desk.list(40)
    assert (await desk.run(*desk.order("--campaign", "spring", "--batch-size", "10"))).code == 0

    end = await desk.run("audit", "spring")

    assert re.findall(r"charged +(\S)\d", end.output), end.output
    assert set(re.findall(r"charged +(\D)\d", end.output)) == {"-"}, end.output
    assert "−" not in end.output


async def test_what_a_list_begins_with_fits_into_a_line(desk: Desk) -> None:
    heads = ",".join(f"第{at}个很长的列名" for at in range(20))
    cells = ",".join(f"第{at}个相当长的单元格内容" for at in range(20))
    desk.write("list.csv", f"手机号,{heads}\n{mobiles(1)[0]},{cells}\n")

    end = await desk.run("plan", "list.csv", "--text", TEXT)

    begins = [line for line in end.output.splitlines() if line.lstrip().startswith("begins")]
    assert begins
    for line in begins:
        assert sum(2 if east_asian_width(sign) in "WF" else 1 for sign in line) <= 100
        assert re.search(r" \| and \d+ more columns$", line), line
