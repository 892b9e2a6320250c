"""Customer lists as marketing exports them: GB18030, six columns, and dirty. The same seed gives the same file."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HEADER = "客户编号,姓名,手机号,城市,会员等级,最近消费"
COLUMN = 2  # where the mobile stands, from 0

_SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗"
_GIVEN = ("伟", "芳", "娜", "秀英", "敏", "静", "丽", "强", "磊", "洋", "艳", "勇", "军", "杰", "娟", "涛", "明", "超")
_CITIES = ("北京", "上海", "广州", "深圳", "成都", "杭州", "武汉", "西安", "重庆", "南京", "天津")
_LEVELS = ("普通", "银卡", "金卡", "钻石")
_AREA_CODES = ("010", "021", "0755", "0571")

_PREFIXES = range(130, 200)
_SUBSCRIBERS = 10**8
_STEP = 2_654_435_761  # a prime, so walking by it visits every number once
_CHUNK = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerList:
    """A written list: how many rows stand below the header, and how many different mobiles are among them."""

    path: Path
    rows: int
    recipients: int
    size_bytes: int


def write_list(path: Path, rows: int, seed: int = 1) -> CustomerList:
    """Write a list without ever holding it in memory."""
    recipients = 0
    with path.open("w", encoding="gb18030", newline="") as file:
        file.write(HEADER + "\r\n")
        for recipients, text in _chunks(rows, seed):  # noqa: B007  the last count is the total
            file.write(text)
    return CustomerList(path=path, rows=rows, recipients=recipients, size_bytes=path.stat().st_size)


def _chunks(rows: int, seed: int) -> Iterator[tuple[int, str]]:
    """Give the text in pieces, each with the number of different mobiles up to its end."""
    chance = random.Random(seed)
    position = chance.randrange(len(_PREFIXES) * _SUBSCRIBERS)
    earlier = [_mobile(position)]  # some that can come again; the first one is row 1
    people = [f"{surname}{given}" for surname in _SURNAMES for given in _GIVEN]
    recipients, lines = 0, []
    for row in range(rows):
        mobile = _mobile(position)
        kind = chance.random() if row else 1.0
        if kind < 0.02:
            cell = chance.choice(earlier)
        elif kind < 0.025:
            cell = f"{chance.choice(_AREA_CODES)}-{chance.randrange(60_000_000, 90_000_000)}"
        elif kind < 0.03:
            cell = ""
        else:
            cell = _dressed(mobile, kind)
            recipients += 1
            position = (position + _STEP) % (len(_PREFIXES) * _SUBSCRIBERS)
            if len(earlier) < 10_000:
                earlier.append(mobile)
        name, city, level = people[row % 359], _CITIES[row % 11], _LEVELS[row % 4]
        lines.append(f"C{row + 1:08d},{name},{cell},{city},{level},{row % 9973}.00\r\n")
        if len(lines) == _CHUNK:
            yield recipients, "".join(lines)
            lines.clear()
    yield recipients, "".join(lines)


def _dressed(mobile: str, kind: float) -> str:
    """Write a mobile as some people write theirs."""
    if kind < 0.05:
        return f"+86{mobile}"
    if kind < 0.07:
        return f"{mobile[:3]} {mobile[3:7]} {mobile[7:]}"
    return mobile


def _mobile(position: int) -> str:
    return f"{_PREFIXES[position // _SUBSCRIBERS]}{position % _SUBSCRIBERS:08d}"
