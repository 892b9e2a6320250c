"""A desk whose campaigns have results: settings that do not wait, lists as marketing has them, and exports read back."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.cli.desk import Desk, Ended

QUICK = "[pace]\nrequests_per_second = 0\n[batch]\nmax_recipients = 10\ndistinct_sizes = false\n"
CITIES = ("北京", "上海", "广州")


def customers(numbers: Sequence[str]) -> str:
    """A list with a name, a number, a city, and when and where the customer agreed to be written to."""
    rows = [
        f"客户{at},{number},{CITIES[at % 3]},官网注册,2025-03-01 10:0{at % 10}" for at, number in enumerate(numbers)
    ]
    return "\r\n".join(["姓名,手机号,城市,同意来源,同意时间", *rows]) + "\r\n"


async def sent(desk: Desk, *words: str, name: str = "list.csv", campaign: str = "spring") -> Ended:
    """Send a list and read its reports."""
    desk.configure(QUICK)
    end = await desk.run(*desk.order("--campaign", campaign, *words, name=name))
    assert end.code in (0, 3), end.errors
    assert (await desk.run("track", "--once", "-q")).code == 0
    return end


async def exported(desk: Desk, *words: str, campaign: str = "spring", name: str = "out.csv") -> list[dict[str, str]]:
    """The lines of an export, by column."""
    end = await desk.run("export", campaign, "--output", name, *words)
    assert end.code == 0, end.errors
    return lines(desk.folder / name)


def lines(path: Path) -> list[dict[str, str]]:
    text = path.read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def told(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def counted(rows: Sequence[dict[str, str]], column: str) -> Counter[str]:
    return Counter(row[column] for row in rows if row[column])
