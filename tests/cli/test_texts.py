"""Personal texts from the list to the phone: what the simulator says each number was told is the row's own text."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest

from engine.simulator import SimulatorSettings
from tests.cli.desk import Desk
from tests.numbers import mobiles

TEMPLATE = "【测试】{姓名}您好，您在{城市}的订单到了"
CITIES = ("北京", "上海", "广州")


def a_list(
    desk: Desk, rows: Sequence[Sequence[str]], *, name: str = "list.csv", header: str = "姓名,手机号,城市"
) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([header.split(","), *rows])
    desk.write(name, out.getvalue())


def expected(name: str, city: str = "北京") -> str:
    return f"【测试】{name}您好，您在{city}的订单到了"


async def test_every_phone_gets_its_rows_own_text(desk: Desk) -> None:
    numbers = mobiles(40)
    a_list(desk, [(f"客户{at % 30}", number, CITIES[at % 3]) for at, number in enumerate(numbers)])
    end = await desk.run("send", "list.csv", "--text", TEMPLATE, "--yes", "--json", "--campaign", "spring")
    assert end.code == 0, end.errors
    for at, number in enumerate(numbers):
        assert desk.sim.told(number) == [expected(f"客户{at % 30}", CITIES[at % 3])]
    assert desk.rows("SELECT count(*), max(seq) FROM message") == [(30, 30)]
    audited = await desk.run("audit", "spring", "--truth", desk.sim.url)
    assert audited.code == 0, audited.output


async def test_three_cities_cost_three_groups_of_requests_and_not_one_a_row(desk: Desk) -> None:
    numbers = mobiles(60)
    a_list(desk, [("x", number, CITIES[at % 3]) for at, number in enumerate(numbers)])
    end = await desk.run(
        "send", "list.csv", "--text", "【测试】{城市}分店开业", "--yes", "--json", "--batch-size", "10"
    )
    assert end.code == 0
    assert len(desk.truth["sends"]) == 6
    assert [desk.sim.told(number) for number in numbers] == [[f"【测试】{CITIES[at % 3]}分店开业"] for at in range(60)]


async def test_a_column_of_whole_texts(desk: Desk) -> None:
    a, b, c, d = mobiles(4)
    a_list(desk, [("{王}您好", a), ("【测试】李，您好", b), ("", c), ("好" * 600, d)], header="内容,手机号")
    end = await desk.run("send", "list.csv", "--text-column", "内容", "--signature", "测试", "--yes", "--json")
    assert end.code == 0, end.errors
    assert [desk.sim.told(each) for each in (a, b, c, d)] == [["【测试】{王}您好"], ["【测试】李，您好"], [], []]
    assert (end.json["excluded"]["placeholder"], end.json["excluded"]["too_long"]) == (1, 1)


async def test_a_blank_cell_leaves_the_row_out_unless_there_is_a_default(desk: Desk) -> None:
    a, b = mobiles(2)
    a_list(desk, [("王芳", a, "北京"), (" ", b, "北京")])
    first = await desk.run("send", "list.csv", "--text", TEMPLATE, "--yes", "--json", "--campaign", "one")
    assert (first.code, first.json["excluded"]["placeholder"]) == (0, 1)
    words = ("send", "list.csv", "--text", TEMPLATE, "--default", "姓名=客户", "--yes", "--json")
    second = await desk.run(*words, "--campaign", "two", "--again")
    again = await desk.run(*words)
    assert desk.sim.told(b) == [expected("客户")]
    assert (second.code, again.code) == (0, 0)
    assert again.json["campaign"] == "two"
    assert desk.campaigns() == ["one", "two"]
    (line,) = [row for row in (await desk.run("why", b)).output.split("\n") if "left out" in row]
    assert "the text needs 姓名 and the row has none" in line


BAD_TEXTS = [
    (("--text", "【测试】{性名}您好"), "is {姓名} meant?"),
    (("--text", "【测试】{地址}您好"), "its header has 姓名, 手机号, 城市"),
    (("--text", "【测试】{姓名.__class__}您好"), "{{"),
    (("--text", "【测试】满{100减5"), "{{"),
    (("--text", "【测试】{}您好"), "names no column"),
    (("--text", TEMPLATE, "--default", "年龄=18"), "it has {姓名}, {城市}"),
    (("--text", TEMPLATE, "--default", "姓名"), "--default 姓名=客户"),
    (("--text", TEMPLATE, "--default", "姓名=a", "--default", "姓名=b"), "given twice"),
    (("--text", TEMPLATE, "--text-column", "姓名"), "give the message once"),
    (("--text-column", "内容"), "no such column"),
    ((), "--text-column"),
    (("--text", "【测试】你好", "--default", "姓名=客户"), "it has no placeholder"),
]


@pytest.mark.parametrize("verb", [("plan",), ("send", "--yes")])
@pytest.mark.parametrize(("words", "said"), BAD_TEXTS)
async def test_a_text_that_does_not_fit_the_list_is_refused_before_anything_is_asked(
    desk: Desk, verb: tuple[str, ...], words: tuple[str, ...], said: str
) -> None:
    a_list(desk, [("王芳", mobiles(1)[0], "北京")])
    end = await desk.run(verb[0], "list.csv", *verb[1:], *words)
    assert end.code == 2, end.errors
    assert said in end.errors
    assert desk.truth["calls"] == {}
    assert desk.campaigns() == []


async def test_braces_that_are_meant_are_written_twice(desk: Desk) -> None:
    (number,) = desk.list(1)
    assert (await desk.run(*desk.order(text="【测试】满{{100}}减5"))).code == 0
    assert desk.sim.told(number) == ["【测试】满{100}减5"]


async def test_the_preview_shows_texts_spread_longest_and_samples(desk: Desk) -> None:
    numbers = mobiles(20)
    a_list(desk, [("长" * 60 if at == 7 else f"客户{at}", number, "北京") for at, number in enumerate(numbers)])
    page = await desk.run("plan", "list.csv", "--text", TEMPLATE)
    data = (await desk.run("plan", "list.csv", "--text", TEMPLATE, "--json")).json
    assert "1 part: 95 %, 2 parts: 5 %" in page.output
    longest = expected("长" * 60)
    assert re.search(rf"longest +{len(longest)} characters, line 9: {longest[:20]}长+…$", page.output, re.MULTILINE)
    assert longest not in page.output  # it is cut for the terminal, and whole for machines
    assert data["longest"]["text"] == longest
    assert page.output.count("for example") == 3
    assert (data["texts"], data["parts"], data["points"], data["segments"]) == (20, {"1": 19, "2": 1}, 21, 21)
    assert data["text"] == TEMPLATE
    assert [each["text"] for each in data["samples"]] == [expected(f"客户{at}") for at in range(3)]
    assert (data["longest"]["line"], data["longest"]["characters"], data["longest"]["parts"]) == (
        9,
        len(expected("长" * 60)),
        2,
    )


async def test_points_are_charged_by_the_parts_of_each_text(desk: Desk) -> None:
    numbers = mobiles(6)
    a_list(desk, [("长" * (60 * (at % 3)) or "短", number, "北京") for at, number in enumerate(numbers)])
    end = await desk.run("send", "list.csv", "--text", TEMPLATE, "--yes", "--json", "--campaign", "spring")
    assert end.json["points"] == {"opening": 5000, "estimated": 12, "charged": 12, "remaining": 4988, "unexplained": 0}
    assert desk.truth["charges"] == 12
    assert (await desk.run("audit", "spring", "--truth", desk.sim.url)).code == 0


async def test_a_sign_off_covers_template_and_defaults(desk: Desk) -> None:
    a_list(desk, [("王芳", mobiles(1)[0], "北京")])
    signed = (await desk.run("plan", "list.csv", "--text", TEMPLATE, "--json")).json["plan_hash"]
    other = await desk.run("send", "list.csv", "--text", TEMPLATE, "--default", "姓名=客户", "--plan", signed)
    same = await desk.run("send", "list.csv", "--text", TEMPLATE, "--plan", signed)
    assert (other.code, same.code) == (5, 0)


# ── nasty cells ──────────────────────────────────────────────────────────────────────────────────────────────────────

NASTY = [
    "O'Brien", '"quoted"', "a,b;c|d", "100%", "%E4%BD%A0", "a+b c", "a&b=c", "&mobile=1&", "#?/\\", "<b>x</b>", "&lt;&amp;", "{姓名}",
    "{{x}}", "{0.__class__}", "%s%d%(x)s", "${x}", "=1+1", "+SUM(A1)", "-1", "@now", "'; DROP TABLE batch;--", "\\n\\x00", "null",
    "NaN", "True", "0", "😀", "👩\u200d👩\u200d👧", "𠮷野家", "é", "e\u0301", "שלום", "\u202eabc", "\u200b零宽\u200b", "\ufeffbom",
    "全角　空格", "ﬁ", "①②", "Ω≈ç√", "€", "·", "—", "～", "田中さん", "김", "ÆØÅ", "\u2028line", "\u2029para", "\xa0nbsp\xa0x",
    "tab\tin", "line\nfeed", "carriage\rreturn", "bell\x07", "escape\x1b[31m", "delete\x7f", "next\x85line", "【签名】", "】", "【",
    "长" * 480, "长" * 481, "😀" * 240, "😀" * 241, "a" * 1_000, "x" * 100_000, "long " * 1_000, "\u3000", "\x1f",
]  # fmt: skip


def may_be_told(cell: str, charset: str) -> bool:
    """By the words of the promise, not by ours."""
    value = cell.strip()
    text = f"【测试】{value}您好，请查收本店新品"
    if not value or len(text.encode("utf-16-le")) > 2 * 500:
        return False
    if any(unicodedata.category(sign) == "Cc" or sign in "【】" for sign in value):
        return False
    try:
        return text.encode(charset).decode(charset) == text
    except UnicodeEncodeError:
        return False


@pytest.mark.parametrize("charset", ["utf-8", "gbk"])
@pytest.mark.parametrize("column", [False, True], ids=["template", "column"])
async def test_nasty_cells_arrive_as_they_are_or_the_row_is_left_out(desk: Desk, charset: str, column: bool) -> None:
    profile = {"utf-8": "standard", "gbk": "gbk"}[charset]
    desk.configure("[pace]\nrequests_per_second = 0\n", account=f'profile = "{profile}"')
    cells = [cell.replace("\r", "\n") for cell in NASTY]  # in a list, every line end is one
    numbers = mobiles(len(cells))
    a_list(desk, [(f"{cell.strip()}您好，请查收本店新品" if column else cell, number) for cell, number in zip(cells, numbers, strict=True)], header="姓名,手机号")  # fmt: skip
    how = (
        ("--text-column", "姓名", "--signature", "测试") if column else ("--text", "【测试】{姓名}您好，请查收本店新品")
    )
    end = await desk.run("send", "list.csv", *how, "--yes", "--json", "--campaign", "spring")
    assert end.code == 0, end.errors
    told = {cell: desk.sim.told(number) for cell, number in zip(cells, numbers, strict=True)}
    for cell, texts in told.items():
        whole = f"【测试】{cell.strip()}您好，请查收本店新品"
        assert texts in ([], [whole]), repr(cell)[:80]
        if not column:
            assert texts == ([whole] if may_be_told(cell, charset) else []), repr(cell)[:80]
    sent = sum(map(len, told.values()))
    assert sum(end.json["excluded"].values()) + sent == len(cells)
    assert sent >= 35


# ── additions ────────────────────────────────────────────────────────────────────────────────────────────────────────


def repaired(desk: Desk, **cells: str) -> str:
    """The campaign's rejects with some cells replaced, as a new file. Returns its name."""
    (path,) = desk.folder.rglob("spring_xinshi_rejects.csv")
    content = path.read_text(encoding="utf-8-sig")
    for wrong, right in cells.items():
        assert content.count(wrong) == 1
        content = content.replace(wrong, right)
    desk.write("fixed.csv", "\ufeff" + content)
    return "fixed.csv"


def dirty(desk: Desk) -> list[str]:
    """A list of ten, of which two numbers are bad and one name is missing; the good and the repaired numbers."""
    numbers = mobiles(10)
    rows = [(f"客户{at}", number, "北京") for at, number in enumerate(numbers[:7])]
    a_list(desk, [*rows, ("坏一", "BAD-ONE", "=广州"), ("坏二", "BAD-TWO", "上海"), ("", numbers[9], "上海")])
    return numbers


ADD = ("--add-to", "spring", "--yes", "--json")
FIRST = ("send", "list.csv", "--text", TEMPLATE, "--yes", "--json", "--campaign", "spring")


async def test_repaired_rejects_are_added_with_the_campaigns_text_and_once(desk: Desk) -> None:
    numbers = dirty(desk)
    assert (await desk.run(*FIRST)).code == 0
    name = repaired(desk, **{"BAD-ONE": numbers[7]})
    previewed = await desk.run("plan", name, "--add-to", "spring", "--json")
    added = await desk.run("send", name, "--add-to", "spring", "--plan", previewed.json["plan_hash"], "--json")
    again = await desk.run("send", name, *ADD)
    whole = await desk.run("send", "list.csv", *ADD)

    assert (previewed.json["recipients"], previewed.json["added_to"]) == (1, "spring")
    assert (added.code, again.code, whole.code) == (0, 0, 0)
    assert desk.sim.told(numbers[7]) == [expected("坏一", "=广州")]
    assert added.json["rows"] == 13
    assert added.json["excluded"]["invalid"] == 3
    assert added.json["recipients"]["accepted"] == 8
    assert (
        again.json
        == whole.json | {"delivery": again.json["delivery"]}
        == added.json | {"delivery": again.json["delivery"]}
    )
    assert "nothing is added" in again.errors
    assert "nothing is added" in whole.errors
    desk.check_once(numbers[:8])
    assert (await desk.run("audit", "spring", "--truth", desk.sim.url)).code == 0
    (where,) = [line for line in (await desk.run("why", numbers[7])).output.splitlines() if line.startswith("list")]
    assert where.endswith("fixed.csv, line 2")


async def test_numbers_that_are_there_already_are_duplicates_whatever_list_they_come_in(desk: Desk) -> None:
    numbers = dirty(desk)
    await desk.run(*FIRST)
    new = mobiles(1, seed=5)[0]
    a_list(desk, [("新", new, "北京"), ("旧", numbers[0], "北京"), ("新", new, "上海")], name="more.csv")
    added = await desk.run("send", "more.csv", *ADD)
    a_list(desk, [("旧", numbers[1], "北京")], name="old.csv")
    nobody = await desk.run("send", "old.csv", *ADD)
    assert added.code == nobody.code == 0
    assert added.json["excluded"]["duplicate"] == 2
    assert "Nobody is added" in nobody.errors
    assert nobody.json["rows"] == added.json["rows"] == 13
    desk.check_once([*numbers[:7], new])
    assert desk.sim.told(numbers[0]) == [expected("客户0")]


@pytest.mark.parametrize("settings", [{"forbidden": ("坏词",)}], indirect=True)
async def test_who_was_refused_may_come_again(desk: Desk, settings: SimulatorSettings) -> None:
    checking = desk.write("checking.toml", 'extends = "standard"\ncheckcontent = true\n')
    desk.configure("[message]\ncheck_keywords = false", account=f'profile = "{checking}"')
    a, b = mobiles(2)
    a_list(desk, [("好人", a, "北京"), ("坏词", b, "北京")])
    first = await desk.run(*FIRST)
    assert (first.code, first.json["recipients"]["refused"]) == (3, 1)
    a_list(desk, [("好词", b, "北京"), ("好人", a, "北京")], name="mended.csv")
    added = await desk.run("send", "mended.csv", *ADD)
    assert (added.json["recipients"]["accepted"], added.json["excluded"]["duplicate"]) == (2, 1)
    assert desk.sim.told(b) == [expected("好词")]
    desk.check_once([a, b])
    assert (await desk.run("audit", "spring", "--truth", desk.sim.url)).code == 0


async def test_a_campaign_of_one_text_takes_additions_too(desk: Desk) -> None:
    numbers = desk.list(5)
    more = desk.list(3, seed=2, name="more.csv")
    await desk.run(*desk.order("--campaign", "spring", "--json", "--signature", "", "--opt-out", "回T退订"))
    assert (await desk.run("send", "more.csv", *ADD)).code == 0
    desk.check_once([*numbers, *more])
    assert desk.sim.told(more[0]) == desk.sim.told(numbers[0])
    assert desk.rows("SELECT count(*) FROM message") == [(1,)]


async def test_what_cannot_be_added_to_is_refused_in_words(desk: Desk) -> None:
    dirty(desk)
    assert (await desk.run(*FIRST, "--limit", "1")).code == 75
    a_list(desk, [("x", mobiles(1, seed=7)[0])], name="lacking.csv", header="名字,手机号")
    cases: list[tuple[tuple[str, ...], str]] = [
        (("send", "list.csv", "--add-to", "summer", "--yes"), "no campaign named 'summer'"),
        (("plan", "list.csv", "--add-to", "summer"), "no campaign named 'summer'"),
        (("send", "lacking.csv", *ADD), "{姓名} in the text: lacking.csv has no such column"),
        (("send", "list.csv", *ADD, "--text", "x"), "has its text and name already"),
        (("send", "list.csv", *ADD, "--campaign", "x", "--again"), "--campaign, --again: the campaign 'spring'"),
    ]
    for words, said in cases:
        end = await desk.run(*words)
        assert (end.code, said in end.errors) == (2, True), end.errors
    await desk.run("cancel", "spring")
    a_list(desk, [("x", mobiles(1, seed=7)[0], "y")], name="late.csv")
    end = await desk.run("send", "late.csv", *ADD)
    assert (end.code, "was cancelled" in end.errors) == (2, True), end.errors


PLACES = [
    "begin_campaigns written", "begin_campaigns committed", "add_plans begun", "add_plans committed", "merge begun", "merge written",
    "merge committed",
]  # fmt: skip


async def test_a_killed_addition_leaves_nothing_or_all_of_it(desk: Desk) -> None:
    numbers = dirty(desk)
    first = await desk.run(*FIRST)
    name = repaired(desk, **{"BAD-ONE": numbers[7], "BAD-TWO": numbers[8]})
    for place in PLACES:
        killed = await desk.run("send", name, *ADD, environ={"_XINSHI_CRASH": f"kill:{place}:1"})
        assert killed.code == -9, (place, killed.errors)
        shown: Any = (await desk.run("status", "spring", "--json")).json
        if place != "merge committed":
            assert shown["rows"] == first.json["rows"] == 10, place
            assert sum(shown["recipients"].values()) == 7, place
        else:
            assert (shown["rows"], shown["recipients"]["planned"]) == (13, 2)
    last = await desk.run("send", name, *ADD)
    assert last.code == 0, last.errors
    assert last.json["rows"] == 13
    desk.check_once(numbers[:9])
    assert desk.sim.told(numbers[8]) == [expected("坏二", "上海")]
    assert (await desk.run("audit", "spring", "--truth", desk.sim.url)).code == 0
