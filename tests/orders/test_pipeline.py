"""The process that reads the list: it gives everything, says what is wrong, and neither end outlives the other unnoticed."""

from __future__ import annotations

import asyncio
import csv
import fcntl
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from engine.errors import IntakeError
from engine.intake import Seen, inspect, read_all
from engine.intake.screening import packed
from engine.lines import pack_lines, unpack_lines, untagged
from engine.model import Chunk, Excluded, Exclusion, Message
from engine.orders.pipeline import Cut, Part, Pipeline, _ReadAhead
from engine.planning import Forbidden, PlanTally, SameText, Wording
from engine.planning.batching import MOST_GROUPS
from engine.planning.template import parsed
from engine.planning.text import Frame
from engine.planning.values import MOST_KINDS
from engine.planning.wording import worded
from tests.intake.books import xlsx
from tests.numbers import mobile, mobiles

MANY = 200_000  # far more than the pipe between the processes holds


def cut(folder: Path, *, most: int = 100) -> Cut:
    return Cut(
        max_recipients=most,
        distinct=False,
        wording=SameText(message=Message(content="【测试】你好", units=6, segments=1)),
        price=Decimal(1),
        rejects=folder / "rejects.csv",
    )


@contextmanager
def reading(folder: Path, rows: list[str], **how: str) -> Iterator[Pipeline]:
    path = folder / "list.csv"
    path.write_text("\n".join(rows) + "\n")
    with Pipeline(path, **how) as pipeline:
        yield pipeline


def many(folder: Path) -> list[str]:
    """Rows enough to fill every buffer, at the cost of a few."""
    return ["手机号", *[str(row) for row in range(MANY)], mobile()]


def test_every_row_arrives_in_order_and_is_counted(tmp_path: Path) -> None:
    numbers = mobiles(10_000)
    with reading(tmp_path, ["手机号", *numbers, "123", numbers[0]]) as pipeline:
        assert pipeline.listing().list_files[0].column_label == "手机号"
        parts = list(pipeline.parts(cut(tmp_path)))

    batches = [batch for part in parts for batch in part.batches]
    assert [number for batch in batches for number in batch.mobiles.split(",")] == numbers
    assert [batch.seq for batch in batches] == list(range(1, 101))
    assert [row.line for part in parts for row in part.excluded] == [10_002, 10_003]
    tally = pipeline.tally
    assert (tally.rows, tally.recipients, sum(tally.excluded.values()), tally.batches) == (10_002, 10_000, 2, 100)
    assert (tmp_path / "rejects.csv").exists()


class _Dirty:
    """A list whose every row says what is to become of it, and the plan of that, row by row."""

    def __init__(self, seed: int, rows: int, *, evenly: bool) -> None:
        """`evenly`: every row is a line of three cells, so that the quick way is taken from end to end."""
        self._chance = random.Random(seed)
        self.text = ["编号,手机号,姓名\n"]
        self.recipients: list[tuple[str, int]] = []
        self.excluded: list[tuple[int, Exclusion]] = []
        self.rejects: list[list[str]] = []
        self._fresh = iter(mobiles(2 * rows + 2, seed))
        self._line = 2
        kinds = ["bad", "blank cell", "again", "dressed", *["clean"] * 12]
        kinds += [] if evenly else ["two", "two lines", "more", "blank"]
        for kind in ["clean", *self._chance.choices(kinds, k=rows)]:
            self._add(kind)

    def _add(self, kind: str) -> None:
        number, other, name = next(self._fresh), next(self._fresh), self._chance.choice(["张三", "Li", "李\U00020000"])
        again = self._chance.choice(self.recipients)[0] if self.recipients else number
        cell, reason = {
            "bad": (number[:9], Exclusion.INVALID),
            "blank cell": ("", Exclusion.EMPTY),
            "again": (self._chance.choice([again, f"+86{again}"]), Exclusion.DUPLICATE),
            "dressed": (self._chance.choice([f"+86{number}", f"{number[:3]} {number[3:7]} {number[7:]}"]), None),
            "two": (f"{number}/{other}", None),
            "more": (number, Exclusion.MALFORMED),
            "blank": ("", Exclusion.EMPTY),
        }.get(kind, (number, None))
        cells = {
            "two lines": ["a", cell, f"{name}\nb"],
            "more": ["a", cell, name, "shifted"],
            "blank": [""],
        }.get(kind, ["a", cell, name])
        self.text.append(",".join(f'"{each}"' if "\n" in each else each for each in cells) + "\n")
        if reason is None:
            self.recipients += [(each, self._line) for each in (number, other)[: 2 if kind == "two" else 1]]
        else:
            self.excluded.append((self._line, reason))
            self.rejects.append([str(self._line), reason.value, *cells])
        self._line += 2 if kind == "two lines" else 1


@pytest.mark.parametrize(("seed", "evenly"), [(1, True), (2, True), (3, False), (4, False)])
def test_a_dirty_list_is_planned_as_its_rows_say_one_by_one(tmp_path: Path, seed: int, evenly: bool) -> None:
    dirty = _Dirty(seed, 14_000, evenly=evenly)
    path = tmp_path / "list.csv"
    path.write_text("".join(dirty.text), encoding="gb18030", newline="")
    with Pipeline(path) as pipeline:
        parts = list(pipeline.parts(cut(tmp_path, most=97)))
    batches = [batch for part in parts for batch in part.batches]
    rows = [dirty.recipients[begin : begin + 97] for begin in range(0, len(dirty.recipients), 97)]
    assert [(each.seq, each.size, each.mobiles, each.lines) for each in batches] == [
        (seq, len(some), ",".join(number for number, _ in some), pack_lines([line for _, line in some]))
        for seq, some in enumerate(rows, 1)
    ]
    assert [(row.line, row.reason) for part in parts for row in part.excluded] == dirty.excluded
    assert pipeline.tally.recipients == len(dirty.recipients)
    with (tmp_path / "rejects.csv").open(encoding="utf-8-sig", newline="") as file:
        written = list(csv.reader(file))[1:]
    assert [[line, reason, *cells] for __, line, reason, __, *cells in written] == [
        [*row, *[""] * (5 - len(row))] for row in dirty.rejects
    ]


def test_a_long_list_comes_in_few_large_parts(tmp_path: Path) -> None:
    numbers = mobiles(60_000)
    with reading(tmp_path, ["手机号", *numbers]) as pipeline:
        parts = list(pipeline.parts(cut(tmp_path)))
    assert 2 <= len(parts) <= 4
    assert [part.rows for part in parts] == sorted(part.rows for part in parts)
    assert [number for part in parts for batch in part.batches for number in batch.mobiles.split(",")] == numbers


def test_a_text_of_its_own_makes_a_part_fuller(tmp_path: Path) -> None:
    numbers = mobiles(30_000)
    with reading(tmp_path, ["手机号,姓名", *(f"{number},{at}" for at, number in enumerate(numbers))]) as pipeline:
        parts = list(pipeline.parts(replace(surveying(tmp_path), surveys=False)))
    assert sum(len(part.messages) for part in parts) == 30_000
    assert max(len(part.messages) for part in parts) <= MOST_GROUPS


def test_some_parts_have_room_in_the_pipe(tmp_path: Path) -> None:
    allowed = int(Path("/proc/sys/fs/pipe-max-size").read_text())
    with reading(tmp_path, ["手机号", mobile()]) as pipeline:
        assert pipeline._child.stdout is not None
        assert fcntl.fcntl(pipeline._child.stdout, fcntl.F_GETPIPE_SZ) >= min(1 << 20, allowed)


def ahead(chunks: Iterator[Chunk]) -> tuple[_ReadAhead, list[Chunk]]:
    """What is read while nobody says anything, and what comes of it."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as source, os.fdopen(writer, "wb"):
        reading = _ReadAhead(chunks)
        reading.until_told(source)
        return reading, list(islice(reading.goes_on(), 40))


def test_what_was_read_ahead_is_as_if_it_had_waited(tmp_path: Path) -> None:
    numbers = mobiles(9_000)
    content = [
        "手机号,名",
        "x,y",
        *(f"{number},{at}" for at, number in enumerate(numbers)),
        f"{numbers[7]},又",
        ",",
        "",
    ]
    path = tmp_path / "list.csv"
    path.write_text("\n".join(content) + "\n")
    expected = list(read_all([inspect(path)] * 2, seen=Seen()))
    __, got = ahead(read_all([inspect(path)] * 2, seen=Seen()))
    assert got == expected
    for chunk in got:
        for row in chunk.excluded:
            assert chunk.original(row.line) == content[untagged(row.line)[1] - 1].split(",")


@pytest.mark.parametrize("kept", [{"size": 1 << 20}, {"excluded": [Excluded(1, "", Exclusion.EMPTY, "")] * 4_000}])
def test_no_more_is_read_ahead_than_the_memory_bears(kept: dict[str, Any]) -> None:
    taken = count()
    chunks = (Chunk(rows=1, mobiles=[mobile(at)], lines=[at + 1], **kept) for at in taken)
    __, got = ahead(chunks)
    assert [chunk.lines for chunk in got] == [[at + 1] for at in range(40)]
    assert 40 < next(taken) < 200


@pytest.mark.parametrize(("rows", "how"), [(["姓名", "王"], {}), (["手机号", mobile()], {"column": "电话"})])
def test_what_is_wrong_with_the_list_is_raised_here(tmp_path: Path, rows: list[str], how: dict[str, str]) -> None:
    with reading(tmp_path, rows, **how) as pipeline, pytest.raises(IntakeError) as caught:
        pipeline.listing().list_files[0]
    assert caught.value.source == tmp_path / "list.csv"


def test_a_problem_in_the_middle_is_raised_with_its_line_and_leaves_no_rejects(tmp_path: Path) -> None:
    with reading(
        tmp_path, ["手机号,名", "123,x", *[f"{number}," for number in mobiles(9_000)], f'{mobile(2)},"']
    ) as pipeline:
        with pytest.raises(IntakeError) as caught:
            list(pipeline.parts(cut(tmp_path)))
        assert caught.value.line == 9_003
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]


def test_the_death_of_the_child_between_two_parts_is_raised(tmp_path: Path) -> None:
    with reading(tmp_path, many(tmp_path)) as pipeline:
        parts = pipeline.parts(cut(tmp_path))
        assert isinstance(next(parts), Part)
        pipeline._child.kill()
        with pytest.raises(IntakeError, match="killed by signal 9"):
            list(parts)


def test_the_death_of_the_child_before_the_cut_is_raised(tmp_path: Path) -> None:
    with reading(tmp_path, ["手机号", mobile()]) as pipeline:
        pipeline.listing().list_files[0]
        pipeline._child.kill()
        pipeline._child.wait()
        with pytest.raises(IntakeError, match="killed by signal 9"):
            list(pipeline.parts(cut(tmp_path)))


def test_leaving_in_the_middle_ends_the_child_which_leaves_no_file(tmp_path: Path) -> None:
    with reading(tmp_path, many(tmp_path)) as pipeline:
        next(pipeline.parts(cut(tmp_path)))
        assert len(list(tmp_path.iterdir())) == 2
    assert pipeline._child.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]


def test_leaving_at_once_ends_the_child(tmp_path: Path) -> None:
    with reading(tmp_path, ["手机号", mobile()]) as pipeline:
        pass
    assert pipeline._child.returncode is not None


def plan(pipeline: Pipeline, folder: Path) -> tuple[list[str], list[tuple[tuple[int, int], Exclusion]]]:
    """The numbers in their order, and who is left out, with the place of the list and the line."""
    parts = list(pipeline.parts(cut(folder)))
    numbers = [number for part in parts for batch in part.batches for number in batch.mobiles.split(",")]
    return numbers, [(untagged(row.line), row.reason) for part in parts for row in part.excluded]


def listed(folder: Path, name: str, *rows: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(("手机号", *rows)) + "\n")
    return path


def test_several_lists_are_one_plan_and_the_rejects_name_each_file(tmp_path: Path) -> None:
    a, b, c = mobiles(3)
    first = listed(tmp_path, "first.csv", a, "123")
    folder = listed(tmp_path, "folder/a.csv", a, b).parent
    second = listed(tmp_path, "folder/b.csv", c, "x")
    (folder / "notes.md").write_text("no list")
    with Pipeline([first, folder]) as pipeline:
        assert [each.label for each in pipeline.listing().list_files] == [
            str(first),
            str(folder / "a.csv"),
            str(second),
        ]
        assert [(each.name, each.why) for each in pipeline.listing().skipped] == [
            (str(folder / "notes.md"), "not called like a list")
        ]
        numbers, left_out = plan(pipeline, tmp_path)
        batches = pipeline.tally.batches
    assert (numbers, batches) == ([a, b, c], 1)
    assert left_out == [
        ((0, 3), Exclusion.INVALID),
        ((1, 2), Exclusion.DUPLICATE),
        ((2, 3), Exclusion.INVALID),
    ]
    with (tmp_path / "rejects.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["xinshi_file"], row["xinshi_line"], row["手机号"]) for row in rows] == [
        (str(first), "3", "123"),
        (str(folder / "a.csv"), "2", a),
        (str(second), "3", "x"),
    ]


def surveying(folder: Path, *, default: str | None = None) -> Cut:
    """A cut of lists of number and name, that asks about the names."""
    frame = Frame(
        signature="测试", signature_position="front", signature_required=True, opt_out=None, max_units=500
    )  # fmt: skip
    wording: Wording = worded(parsed("{姓名}您好"), frame, {} if default is None else {"姓名": default})
    return replace(cut(folder, most=3), wording=wording, columns=((1,),), surveys=True)


def named(*names: str) -> list[str]:
    """The rows of a list. The second name stands with the number of the first; the last row holds no number."""
    first, *others = mobiles(len(names) - 1)
    return ["手机号,姓名", *map(",".join, zip([first, first, *others], names, strict=True)), "123,甲"]


NAMES = ["坏词", "甲", "乙", "", "甲", "坏词", "甲", "丙", "甲", "甲"]
BAD = Forbidden(values={"姓名": {"坏词": "包含非法字符"}})


def sums(tally: PlanTally) -> dict[str, object]:
    return dict(vars(tally))


def test_a_list_in_which_nothing_is_forbidden_is_read_once(tmp_path: Path) -> None:
    with reading(tmp_path, named(*NAMES)) as pipeline:
        parts = list(pipeline.parts(surveying(tmp_path)))
        assert (pipeline.survey.whole, pipeline.survey.kinds[0]) == (True, (("甲",), 5))
        (tmp_path / "list.csv").unlink()
        parts += pipeline.rest(Forbidden())
        tally = pipeline.tally
    told = {number: message.content for part in parts for number, message in part.messages}
    names = [told[batch.message] for part in parts for batch in part.batches for _ in range(batch.size)]
    assert sorted(names) == sorted(
        f"【测试】{name}您好" for name in ["坏词", "乙", "甲", "坏词", "甲", "丙", "甲", "甲"]
    )
    assert (tally.recipients, tally.texts, sum(tally.excluded.values())) == (8, 4, 3)
    assert (tmp_path / "rejects.csv").exists()


def test_where_something_is_forbidden_the_plan_is_as_if_that_had_been_known_before(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        folder.mkdir()
    known = replace(surveying(before), surveys=False, forbidden=BAD)
    with reading(before, named(*NAMES)) as pipeline:
        expected = list(pipeline.parts(known))
        tally = pipeline.tally
    with reading(after, named(*NAMES)) as pipeline:
        void = list(pipeline.parts(surveying(after)))
        parts = list(pipeline.rest(BAD))
        assert sums(pipeline.tally) == sums(tally)
    assert parts == expected != void
    assert tally.excluded == {
        Exclusion.FORBIDDEN_VALUE: 2, Exclusion.PLACEHOLDER: 1, Exclusion.INVALID: 1
    }  # fmt: skip
    rejects = [(folder / "rejects.csv").read_bytes().replace(bytes(folder), b"") for folder in (before, after)]
    assert rejects[0] == rejects[1]


def test_nothing_is_rejected_for_good_before_it_is_known_what_is_forbidden(tmp_path: Path) -> None:
    with reading(tmp_path, named(*NAMES)) as pipeline:
        list(pipeline.parts(surveying(tmp_path)))
        assert not (tmp_path / "rejects.csv").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]


def test_where_texts_are_too_many_it_is_asked_in_the_middle(tmp_path: Path) -> None:
    rows = ["手机号,姓名", *(f"{number},客户{at}" for at, number in enumerate(mobiles(3 * MOST_KINDS)))]
    with reading(tmp_path, rows) as pipeline:
        parts = list(pipeline.parts(surveying(tmp_path)))
        assert (pipeline.survey.whole, len(pipeline.survey.kinds)) == (False, MOST_KINDS)
        assert parts[-1].rows < 2 * MOST_KINDS
        parts += pipeline.rest(Forbidden())
    assert sum(batch.size for part in parts for batch in part.batches) == 3 * MOST_KINDS


def test_the_lines_of_a_batch_name_their_lists(tmp_path: Path) -> None:
    a, b = mobiles(2)
    with Pipeline([listed(tmp_path, "1.csv", a), listed(tmp_path, "2.csv", b)]) as pipeline:
        (batch,) = [batch for part in pipeline.parts(cut(tmp_path)) for batch in part.batches]
    assert [untagged(line) for line in unpack_lines(batch.lines)] == [(0, 2), (1, 2)]


def test_people_on_an_exclude_list_and_on_no_only_list_are_left_out(tmp_path: Path) -> None:
    a, b, c, d = mobiles(4)
    with Pipeline(
        listed(tmp_path, "list.csv", a, b, c, d),
        exclude=[listed(tmp_path, "out.csv", f"+86{b}", "1.38E+10")],
        only=[listed(tmp_path, "keep1.csv", a, b), listed(tmp_path, "keep2.csv", d)],
    ) as pipeline:
        listing = pipeline.listing()
        numbers, left_out = plan(pipeline, tmp_path)
        excluded = pipeline.tally.excluded
    assert numbers == [a, d]
    assert left_out == [((0, 3), Exclusion.EXCLUDED_LIST), ((0, 4), Exclusion.NOT_ON_LIST)]
    assert excluded == {Exclusion.EXCLUDED_LIST: 1, Exclusion.NOT_ON_LIST: 1}
    assert [(each.mobiles, each.unclear) for each in listing.excluded] == [(1, {Exclusion.DIGITS_LOST: 1})]
    assert [each.list_file.label for each in listing.only] == [str(tmp_path / "keep1.csv"), str(tmp_path / "keep2.csv")]


def told(pipeline: Pipeline) -> bytes:
    numbers = pipeline.whom()
    assert numbers is not None
    numbers.seek(0)
    return numbers.read()


def test_whom_the_batches_hold_is_told_in_the_end(tmp_path: Path) -> None:
    a, b, c, d, e, f = mobiles(6)
    with Pipeline(
        listed(tmp_path, "list.csv", a, b, "123", a, c, d, e, f),
        exclude=[listed(tmp_path, "out.csv", b)],
        only=[listed(tmp_path, "keep.csv", a, b, d, e, f)],
    ) as pipeline:
        parts = list(pipeline.parts(replace(cut(tmp_path), opted_out=packed([e]), held=packed([f]))))
        pipeline.ask_whom()
        pipeline.keep(tmp_path / "kept", files=True)
        assert (pipeline.kept(), pipeline._child.wait()) == ("", 0)  # it does not wait to be asked any more
        whom = told(pipeline)
    assert [batch.mobiles for part in parts for batch in part.batches] == [f"{a},{d}"]
    assert whom == packed([a, d])
    assert list((tmp_path / "kept").iterdir())


def test_whom_many_batches_hold_is_told_in_pieces_and_every_number_is_among_them(tmp_path: Path) -> None:
    far_apart = [f"{13_000_000_000 + 65_535 * each}" for each in range(106_000)]  # so that a set of few is large
    with reading(tmp_path, ["手机号", *far_apart]) as pipeline:
        recipients = [batch.size for part in pipeline.parts(cut(tmp_path)) for batch in part.batches]
        pipeline.ask_whom()
        pipeline.keep(tmp_path / "kept", files=True)
        assert pipeline.kept() == ""
        whom = told(pipeline)
    assert sum(recipients) == len(far_apart)
    assert len(whom) > 1 << 20
    assert whom == packed(far_apart)


def test_whom_the_batches_hold_is_not_known_where_there_is_no_room_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reading(tmp_path, ["手机号", mobile()]) as pipeline:
        list(pipeline.parts(cut(tmp_path)))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
        pipeline.ask_whom()
        pipeline.keep(tmp_path / "kept", files=True)
        assert (pipeline.whom(), pipeline.kept()) == (None, "")
    assert list((tmp_path / "kept").iterdir())


def test_whom_a_second_attempt_holds_is_told_not_whom_the_first_would_have(tmp_path: Path) -> None:
    with reading(tmp_path, named(*NAMES)) as pipeline:
        list(pipeline.parts(surveying(tmp_path)))
        parts = list(pipeline.rest(BAD))
        pipeline.ask_whom()
        whom = told(pipeline)
    assert whom == packed(number for part in parts for batch in part.batches for number in batch.mobiles.split(","))


@pytest.mark.parametrize("when", ["never asked", "gone before", "gone after"])
def test_a_child_that_is_gone_or_not_asked_tells_of_nobody(tmp_path: Path, when: str) -> None:
    with reading(tmp_path, ["手机号", mobile()]) as pipeline:
        list(pipeline.parts(cut(tmp_path)))
        if when == "gone after":
            pipeline._child.send_signal(signal.SIGSTOP)  # so that it does not answer first
            pipeline.ask_whom()
        pipeline._child.kill()
        pipeline._child.wait()
        if when == "gone before":
            pipeline.ask_whom()
        assert pipeline.whom() is None


def test_an_only_list_of_nobody_lets_nobody_through(tmp_path: Path) -> None:
    with Pipeline(listed(tmp_path, "list.csv", mobile()), only=[listed(tmp_path, "nobody.csv")]) as pipeline:
        numbers, left_out = plan(pipeline, tmp_path)
    assert (numbers, left_out) == ([], [((0, 2), Exclusion.NOT_ON_LIST)])


def test_a_bad_exclude_list_is_raised_before_anything_is_planned(tmp_path: Path) -> None:
    with (
        Pipeline(listed(tmp_path, "list.csv", mobile()), exclude=[tmp_path / "none.csv"]) as pipeline,
        pytest.raises(IntakeError, match="no such file") as caught,
    ):
        pipeline.listing().list_files[0]
    assert caught.value.source == tmp_path / "none.csv"


def test_an_order_without_a_list_is_refused() -> None:
    with Pipeline([]) as pipeline, pytest.raises(IntakeError, match="no list was given"):
        pipeline.listing().list_files[0]


def test_leaving_while_a_workbook_is_loaded_ends_both_processes(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    path.write_bytes(xlsx({"一": [["手机号"], *([float(number)] for number in mobiles(30_000))]}))
    with Pipeline(path) as pipeline:
        assert isinstance(next(pipeline.parts(cut(tmp_path))), Part)
        (loading,) = Path(f"/proc/{pipeline._child.pid}/task/{pipeline._child.pid}/children").read_text().split()
    assert pipeline._child.returncode == 0
    assert not _runs(int(loading))


def test_a_sheet_is_chosen_over_there(tmp_path: Path) -> None:
    a, b = mobiles(2)
    path = tmp_path / "book.xlsx"
    path.write_bytes(xlsx({"一": [["手机号"], [float(a)]], "二": [["手机号"], [float(b)]]}))
    with Pipeline(path, sheet="二") as pipeline:
        assert pipeline.listing().list_files[0].label == f"{path}, sheet 二"
        assert plan(pipeline, tmp_path)[0] == [b]


_STDIN = """
import sys
from pathlib import Path
from engine.errors import IntakeError
from engine.orders.pipeline import Pipeline
from tests.orders.test_pipeline import cut
try:
    with Pipeline(list(map(Path, sys.argv[3:])), exclude=[Path(sys.argv[2])] if sys.argv[2] else []) as pipeline:
        print(pipeline.listing().list_files[0].label)
        print(*(batch.mobiles for part in pipeline.parts(cut(Path(sys.argv[1]))) for batch in part.batches))
except IntakeError as error:
    print(error)
"""


async def stdin_plan(folder: Path, *named: str, given: bytes, exclude: str = "", close: bool = False) -> list[str]:
    command = [sys.executable, "-c", _STDIN, str(folder), exclude, *named]
    if close:
        command = ["sh", "-c", 'exec "$@" <&-', "sh", *command]
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    told, errors = await child.communicate(given)
    assert errors == b""
    return told.decode().splitlines()


async def test_our_standard_input_is_read_over_there(tmp_path: Path) -> None:
    numbers = mobiles(50)
    given = "".join(f"{number}\n" for number in numbers).encode("utf-16")
    assert await stdin_plan(tmp_path, "-", given=given) == ["standard input", ",".join(numbers)]


async def test_standard_input_may_be_an_exclude_list(tmp_path: Path) -> None:
    a, b = mobiles(2)
    path = listed(tmp_path, "list.csv", a, b)
    assert await stdin_plan(tmp_path, str(path), given=f"{a}\n".encode(), exclude="-") == [str(path), b]


async def test_standard_input_named_twice_is_refused_in_words(tmp_path: Path) -> None:
    assert await stdin_plan(tmp_path, "-", given=b"", exclude="-") == [
        "standard input: named twice, and can be read only once"
    ]


async def test_standard_input_that_is_closed_is_refused_in_words(tmp_path: Path) -> None:
    assert await stdin_plan(tmp_path, "-", given=b"", close=True) == [
        "standard input: is closed: pipe the list into the command"
    ]


def test_a_child_that_ends_while_it_is_told_to_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.orders.pipeline._END_S", 60.0)  # on a busy machine it may be killed before
    for _ in range(15):
        with Pipeline(listed(tmp_path, "list.csv", mobile())) as pipeline:
            plan(pipeline, tmp_path)
        assert pipeline._child.returncode == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_whole_group_are_left_to_the_parent(tmp_path: Path, number: signal.Signals) -> None:
    with reading(tmp_path, ["手机号", mobile()]) as pipeline:
        pipeline.listing().list_files[0]
        pipeline._child.send_signal(number)
        assert [batch.mobiles for part in pipeline.parts(cut(tmp_path)) for batch in part.batches] == [mobile()]


_PARENT = """
import sys, time
from decimal import Decimal
from itertools import count, islice
from pathlib import Path
from typing import Any
from engine.orders.pipeline import Pipeline
from tests.orders.test_pipeline import cut
with Pipeline(Path(sys.argv[1])) as pipeline:
    next(pipeline.parts(cut(Path(sys.argv[1]).parent)))
    print(pipeline._child.pid, flush=True)
    time.sleep(60)
"""


async def test_a_child_in_the_middle_of_its_work_ends_with_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("\n".join(many(tmp_path)) + "\n")
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PARENT, str(path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.kill()
    _, errors = await parent.communicate()  # the child holds the same stderr: this returns when both have ended

    assert errors == b""
    deadline = time.monotonic() + 100
    while _runs(child):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False


_FINALISING = """
import signal, sys
from engine.orders import pipeline
for number in pipeline._STOPS:
    signal.signal(number, pipeline._stop)
sys.unraisablehook = pipeline._swallowed
class Left:
    def __del__(self):
        signal.raise_signal(signal.SIGUSR1)
try:
    Left()
    while True:
        signal.pause()
except pipeline._Stopped:
    print("stopped")
"""


async def test_a_stop_that_comes_where_nothing_can_be_raised_comes_again() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _FINALISING, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await child.communicate()
    assert (output.decode(), errors.decode()) == ("stopped\n", "")


_STOPPED_AT_ONCE = """
import signal
from engine.orders import pipeline
install = signal.signal
def installed(number, handler):
    before = install(number, handler)
    if number == signal.SIGUSR1 and handler is pipeline._stop:
        signal.raise_signal(number)
    return before
signal.signal = installed
pipeline.main()
"""


async def test_a_stop_that_comes_as_soon_as_it_is_looked_for_is_no_error() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _STOPPED_AT_ONCE, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await child.communicate()
    assert (child.returncode, errors.decode()) == (0, "")
