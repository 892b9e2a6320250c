"""The process that reads the list: it gives everything, says what is wrong, and neither end outlives the other unnoticed."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from engine.errors import IntakeError
from engine.model import Message
from engine.pipeline import Cut, Part, Pipeline
from tests.numbers import mobile, mobiles

MANY = 200_000  # far more than the pipe between the processes holds


def cut(folder: Path, *, most: int = 100) -> Cut:
    return Cut(
        max_recipients=most,
        distinct=False,
        message=Message(content="【测试】你好", units=6, segments=1),
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
        assert pipeline.inspected().column_label == "手机号"
        parts = list(pipeline.parts(cut(tmp_path)))

    batches = [batch for part in parts for batch in part.batches]
    assert [number for batch in batches for number in batch.mobiles.split(",")] == numbers
    assert [batch.seq for batch in batches] == list(range(1, 101))
    assert [row.line for part in parts for row in part.excluded] == [10_002, 10_003]
    tally = pipeline.tally
    assert (tally.rows, tally.recipients, sum(tally.excluded.values()), tally.batches) == (10_002, 10_000, 2, 100)
    assert (tmp_path / "rejects.csv").exists()


@pytest.mark.parametrize(("rows", "how"), [(["姓名", "王"], {}), (["手机号", mobile()], {"column": "电话"})])
def test_what_is_wrong_with_the_list_is_raised_here(tmp_path: Path, rows: list[str], how: dict[str, str]) -> None:
    with reading(tmp_path, rows, **how) as pipeline, pytest.raises(IntakeError) as caught:
        pipeline.inspected()
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
        pipeline.inspected()
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_whole_group_are_left_to_the_parent(tmp_path: Path, number: signal.Signals) -> None:
    with reading(tmp_path, ["手机号", mobile()]) as pipeline:
        pipeline.inspected()
        pipeline._child.send_signal(number)
        assert [batch.mobiles for part in pipeline.parts(cut(tmp_path)) for batch in part.batches] == [mobile()]


_PARENT = """
import sys, time
from decimal import Decimal
from pathlib import Path
from engine.pipeline import Pipeline
from tests.test_pipeline import cut
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
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.kill()
    _, errors = await parent.communicate()  # the child holds the same stderr: this returns when both have ended

    assert errors == b""
    deadline = time.monotonic() + 10
    while _runs(child):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False
