"""The report: complete in itself, safe, and with the figures of the status."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from engine.results.page import _round_up
from engine.results.report import Findings, over_time
from tests.cli.desk import Desk
from tests.numbers import mobiles
from tests.results.desk import CITIES, QUICK, customers, exported, sent

HALF = {"report_delay_s": 0, "undelivered": 0.3, "unreported": 0.2}
VOID = {"meta"}


class Reading(HTMLParser):
    """What a browser would see: every element closed, and what would be loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.words: list[str] = []
        self.loads: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [
            name for name, _ in attrs if name in ("src", "href", "srcset", "data", "action") or name[:2] == "on"
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.parametrize("settings", [HALF], indirect=True)
async def test_the_page_is_whole_loads_nothing_and_names_nobody(desk: Desk) -> None:
    numbers = mobiles(120)
    desk.write("list.csv", customers(numbers) + "王,12345,北京,门店,\r\n")
    await sent(desk)
    end = await desk.run("report", "spring", "--html", "report.html", "--by", "城市")
    assert end.code == 0, end.errors
    path = desk.folder / "report.html"
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text(encoding="utf-8")
    found = Reading(text)
    assert (found.open, found.loads) == ([], [])
    assert found.tags.isdisjoint({"script", "link", "img", "iframe", "object", "form"})
    assert "url(" not in text
    assert "@import" not in text
    assert not [number for number in numbers if number in text]
    status = (await desk.run("status", "spring", "--json")).json
    words = " ".join(found.words)
    for figure in (*status["delivery"].values(), status["points"]["charged"]):
        assert re.search(rf"\b{figure:,}\b", words)
    rows = await exported(desk)
    for city in CITIES:
        reached = sum(row["城市"] == city and row["delivery"] == "delivered" for row in rows)
        assert re.search(rf"<td>{city}</td><td class=\"n\">40</td><td class=\"n\">{reached}</td>", text)
    assert "UNDELIV" in text
    assert "not a mobile number" in text


@pytest.mark.parametrize("settings", [HALF], indirect=True)
async def test_the_page_is_in_the_language_that_is_spoken(desk: Desk) -> None:
    desk.write("list.csv", customers(mobiles(30)) + "王,12345,北京,门店,\r\n")
    await sent(desk)
    pages = {}
    for language in ("en", "zh"):
        end = await desk.run("report", "spring", "--html", f"{language}.html", "--by", "城市", "--lang", language)
        assert end.code == 0, end.errors
        pages[language] = (desk.folder / f"{language}.html").read_text(encoding="utf-8")

    assert '<html lang="en">' in pages["en"]
    assert '<html lang="zh-CN">' in pages["zh"]
    body = pages["zh"].partition("<body>")[2]
    labels = [words.strip() for words in re.findall(r">([^<]+)<|aria-label=\"([^\"]+)\"", body) for words in words]
    assert "各行的去向" in labels
    assert [words for words in labels if re.search(r"[A-Za-z]{2,} [A-Za-z]{2,}", words)] == []


@pytest.mark.parametrize("settings", [HALF], indirect=True)
async def test_whatever_stands_in_a_list_is_shown_as_text(desk: Desk) -> None:
    evil = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&amp;lt;", "', --", "\u202e甲"]
    numbers = mobiles(len(evil))
    cells = [f'"{word.replace(chr(34), chr(34) * 2)}",{number}' for word, number in zip(evil, numbers, strict=True)]
    desk.write("list.csv", "<b>城市</b>,手机号\n" + "\n".join(cells) + "\n")
    await sent(desk, campaign="a&<i>")
    assert (await desk.run("report", "a&<i>", "--html", "report.html", "--by", "<b>城市</b>")).code == 0
    found = Reading((desk.folder / "report.html").read_text(encoding="utf-8"))
    assert found.tags.isdisjoint({"script", "img", "i"})
    assert set(evil[:4]) <= set(found.words)
    assert (await desk.run("report", "a&<i>", "--html", "report.html", "--by", "手机号")).code == 0
    text = (desk.folder / "report.html").read_text(encoding="utf-8")
    assert not [number for number in numbers if number in text]


@pytest.mark.parametrize("settings", [HALF], indirect=True)
async def test_the_terminal_has_the_same_in_plain_text(desk: Desk) -> None:
    desk.write("list.csv", customers(mobiles(60)))
    await sent(desk)
    end = await desk.run("report", "spring", "--by", "城市")
    assert end.code == 0
    for word in ("campaign", "UNDELIV", "not reachable or suspended", "上海", "time, China time (UTC+8)", "█"):
        assert word in end.output
    assert "\x1b" not in end.output
    end = await desk.run("report", "spring", "--by", "宽度")
    assert (end.code, "there are: 姓名" in end.errors) == (2, True), end.errors


async def test_the_report_names_account_points_and_cost(desk: Desk) -> None:
    desk.write("list.csv", customers(mobiles(20)))
    await sent(desk)
    desk.configure(QUICK, account="price_yuan_per_point = 0.045")
    text = (await desk.run("report", "spring")).output
    assert re.search(r"^account +default$", text, re.MULTILINE), text
    assert re.search(r"^points +20  charged for this campaign", text, re.MULTILINE), text
    assert re.search(r"^cost +0\.90 yuan$", text, re.MULTILINE), text
    assert (await desk.run("report", "spring", "--html", "report.html")).code == 0
    words = " ".join(Reading((desk.folder / "report.html").read_text(encoding="utf-8")).words)
    assert "account default" in words
    assert "points 20" in words
    assert words.count("cost 0.90 yuan") == 2, words  # among the cards, and beside the points
    desk.configure(QUICK)
    assert (await desk.run("report", "spring", "--html", "report.html")).code == 0
    assert "yuan" not in (desk.folder / "report.html").read_text(encoding="utf-8")


async def test_a_campaign_that_is_only_planned_has_a_report_too(desk: Desk) -> None:
    desk.write("list.csv", customers(mobiles(20)))
    desk.configure(QUICK)
    assert (await desk.run(*desk.order("--campaign", "spring", "--limit", "10"))).code == 75
    for words in ((), ("--html", "report.html")):
        assert (await desk.run("report", "spring", *words)).code == 0
    assert "not sent yet" in (desk.folder / "report.html").read_text(encoding="utf-8")


def found(**minutes: dict[str, int]) -> Findings:
    findings = Findings(known=None, column=None)  # type: ignore[arg-type]  # over_time looks at the minutes alone
    for name, counts in minutes.items():
        getattr(findings, name).update(counts)
    return findings


@pytest.mark.parametrize(
    "last", ["2026-03-01T08:00", "2026-03-01T08:59", "2026-03-01T23:10", "2026-03-04T07:00", "2026-06-09T12:00"]
)
def test_time_is_cut_into_equal_spans_without_gaps_and_nothing_is_lost(last: str) -> None:
    spans = over_time(found(submitted={"2026-03-01T08:00": 5}, delivered={last: 3, "": 1}, undelivered={last: 2}))
    assert 1 <= len(spans) <= 49
    assert len({span.minutes for span in spans}) == 1
    gaps = {(after.begin - before.begin).total_seconds() / 60 for before, after in pairwise(spans)}
    assert gaps <= {spans[0].minutes}
    assert [sum(getattr(span, name) for span in spans) for name in ("submitted", "delivered", "undelivered")] == [
        5,
        3,
        2,
    ]


@pytest.mark.parametrize(
    ("value", "top"), [(0, 2), (1, 2), (2, 2), (3, 4), (5, 10), (11, 20), (21, 40), (41, 100), (101, 200)]
)
def test_the_scale_ends_at_a_round_number(value: int, top: int) -> None:
    assert _round_up(value) == top
