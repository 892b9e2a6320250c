"""The Big List of Naughty Strings as cells, as whole texts, and where a number should be: told as written, or left out in words."""

from __future__ import annotations

import base64
import json
import unicodedata
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from engine.cli.texts import text_of
from engine.cli.words import Order
from engine.errors import PlanError
from engine.gateway.profile import Profile, load_profile
from engine.gateway.wire import CONTENT_TYPE, Credentials, SendForm
from engine.intake import inspect
from engine.intake.originals import original_rows
from engine.model import Message
from engine.numbers import examine
from engine.planning.template import parsed
from engine.planning.text import Frame
from engine.planning.wording import SameText, worded
from engine.simulator import Simulator, SimulatorSettings
from tests.corpora.spread import FRAME_UNITS, SIGN, Fate, spread, table
from tests.intake.lists import harvested
from tests.numbers import mobiles
from tests.simulator.client import Client

STRINGS = [
    base64.b64decode(each).decode()
    for each in json.loads((Path(__file__).parent / "naughty-strings" / "blns.base64.json").read_bytes())
]
ENCODINGS = ("utf-8", "gb18030", "utf-16")
CELLS = STRINGS * len(ENCODINGS)
NUMBERS = mobiles(len(CELLS), seed=11)
CHARSETS = {"standard": "utf-8", "gbk": "gbk"}
GOOD_CELLS = {"standard": 478, "gbk": 408}
BOM = "\ufeff"
BEFORE, AFTER = "您好", "，订单到了"


def test_the_list_is_whole() -> None:
    assert len(STRINGS) == 485
    assert sum(not each.isascii() for each in STRINGS) == 85


def written(folder: Path, encoding: str, rows: list[tuple[str, str]]) -> Path:
    path = folder / f"{encoding}.csv"
    path.write_bytes(table(["手机号", "内容"], rows).encode(encoding))
    return path


def lists(folder: Path) -> Path:
    """All strings in a list of each encoding, with a number of its own for each row."""
    (place := folder / "lists").mkdir()
    for at, encoding in enumerate(sorted(ENCODINGS)):  # as a folder is read
        numbers = NUMBERS[at * len(STRINGS) :][: len(STRINGS)]
        written(place, encoding, list(zip(numbers, STRINGS, strict=True)))
    return place


def is_expressible(text: str, charset: str) -> bool:
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        return False
    return True


def controls(text: str) -> list[str]:
    return [sign for sign in text if unicodedata.category(sign) == "Cc"]


def reason_in_a_template(cell: str, charset: str) -> str:
    """Why a cell cannot stand in a text, by rules written down here once more; "" where it can."""
    cell = cell.strip()
    text = f"{SIGN}{BEFORE}{cell}{AFTER}"
    if not cell:
        return "placeholder"
    if controls(cell) or set(cell) & {"【", "】"} or not is_expressible(text, charset):
        return "unsendable"
    return "too_long" if len(text.encode("utf-16-le")) // 2 > FRAME_UNITS else ""


def reason_as_a_text(cell: str, charset: str) -> str:
    """Why a cell cannot be a whole text; "" where it can."""
    cell = cell.strip()
    if not cell:
        return "placeholder"
    if controls(cell.replace("\n", "")) or set(cell) & {"【", "】"} or not is_expressible(cell, charset):
        return "unsendable"
    return "too_long" if len((SIGN + cell).encode("utf-16-le")) // 2 > FRAME_UNITS else ""


def check(fate: Fate, number: str, cell: str, why_not: str, text: str) -> None:
    """The export has the row's own cells; its phone was told `text` once, or nothing, for that reason."""
    assert (fate.row["手机号"], fate.row["内容"]) == (number, cell)
    if why_not:
        assert (fate.state, fate.told) == ("excluded", [])
        assert fate.reason.startswith(f"{why_not}: ")
        assert len(fate.reason) > len(why_not) + 5
    else:
        assert (fate.state, fate.told) == ("accepted", [text])


@pytest.mark.parametrize("profile", CHARSETS)
async def test_as_a_cell_of_a_personal_text(tmp_path: Path, profile: str) -> None:
    fates = await spread(lists(tmp_path), profile=profile, text=f"{BEFORE}{{内容}}{AFTER}")
    for number, cell, fate in zip(NUMBERS, CELLS, fates, strict=True):
        why_not = reason_in_a_template(cell, CHARSETS[profile])
        check(fate, number, cell, why_not, f"{SIGN}{BEFORE}{cell.strip()}{AFTER}")
    assert sum(fate.state == "accepted" for fate in fates) == GOOD_CELLS[profile] * len(ENCODINGS)


@pytest.mark.parametrize("profile", CHARSETS)
async def test_as_a_whole_text_from_a_column(tmp_path: Path, profile: str) -> None:
    fates = await spread(lists(tmp_path), profile=profile, text_column="内容")
    for number, cell, fate in zip(NUMBERS, CELLS, fates, strict=True):
        check(fate, number, cell, reason_as_a_text(cell, CHARSETS[profile]), f"{SIGN}{cell.strip()}")
    assert sum(fate.state == "accepted" for fate in fates) == GOOD_CELLS[profile] * len(ENCODINGS)


@pytest.mark.parametrize("profile", CHARSETS)
async def test_as_a_text_from_a_file(tmp_path: Path, profile: str) -> None:
    """From the file to a request of the wire, posted as it is."""
    dialect = load_profile(profile)
    form = SendForm(dialect, Credentials(userid="12", account="demo", password="demo"))
    async with Simulator(SimulatorSettings(points=50_000)) as sim, aiohttp.ClientSession() as session:
        client = Client(session, sim)
        for number, text in zip(NUMBERS, STRINGS, strict=False):
            path = tmp_path / "text.txt"
            path.write_bytes(text.replace("{", "{{").replace("}", "}}").encode())
            why_not = reason_as_a_text(text.removeprefix(BOM), CHARSETS[profile])
            if why_not:
                with pytest.raises(PlanError):
                    from_file(path, dialect)
                continue
            body = form.prepare(from_file(path, dialect).content).body(number, now=datetime.now(UTC))
            await client.post(dialect.paths.send, body, CONTENT_TYPE)
            assert sim.told(number) == [f"{SIGN}{text.removeprefix(BOM).strip()}"]
        assert sim.truth(detail=False)["accepted_numbers"] >= GOOD_CELLS[profile] - 1  # type: ignore[operator]


def from_file(path: Path, profile: Profile) -> Message:
    text = text_of(Order(text_file=path), [])
    assert text is not None
    frame = Frame(
        signature=SIGN,
        signature_position=profile.signature_position.value,
        signature_required=profile.signature_required,
        opt_out=None,
        max_units=profile.max_content_units,
        charset=profile.request_charset.value,
    )
    wording = worded(parsed(text), frame, {})
    assert isinstance(wording, SameText)
    return wording.message


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_where_a_number_should_be_it_is_left_out_in_words(tmp_path: Path, encoding: str) -> None:
    numbers = NUMBERS[: len(STRINGS)]
    rows = [pair for number, junk in zip(numbers, STRINGS, strict=True) for pair in ((number, "x"), (junk, "y"))]
    path = written(tmp_path, encoding, rows)
    got = harvested(inspect(path))
    assert got.mobiles == numbers
    assert got.rows == len(rows)
    assert len(got.excluded) - got.extra == len(STRINGS)
    by_line = {row.line: row for row in got.excluded}
    for row in got.excluded:
        assert row.reason.value
        assert row.detail
    lines = [line for lines, _ in original_rows(inspect(path)) for line in lines]
    for line, junk in zip(lines[1::2], STRINGS, strict=True):
        assert by_line[line].raw == junk[:200]


def test_beside_a_number_it_changes_no_digit_of_it() -> None:
    """The number is that number, or none; and what is junk alone gives none."""
    came_to = Counter[str]()
    for number, junk in zip(NUMBERS, STRINGS, strict=False):
        assert not any(isinstance(verdict, str) for verdict in examine(junk))
        for cell in (number + junk, junk + number, number[:5] + junk + number[5:]):
            found = [verdict for verdict in examine(cell) if isinstance(verdict, str)]
            assert set(found) <= {number}
            came_to["kept" if found else "left out"] += 1
    assert came_to["left out"] > 10 * came_to["kept"] > 0
