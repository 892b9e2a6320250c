"""Ctrl-C and SIGTERM at the moments at which Python itself breaks a loop, shows a warning or loses them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from engine import interrupts
from engine.cli.stopping import stopping
from engine.cli.words import Common
from engine.interrupts import ENDING, ended_by_signals
from engine.live import Live
from engine.loop import run_in_loop

ROOT = Path(__file__).parents[1]
BOTH = pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """No handler stays, whatever a test does."""
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in ENDING]


@BOTH
def test_a_command_in_a_loop_is_cancelled_and_cleans_up_before_it_is_raised(
    number: int, kind: type[BaseException]
) -> None:
    done = []

    async def main() -> int:
        try:
            signal.raise_signal(number)
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0.01)
            done.append("cleaned up")
        return 0

    with pytest.raises(kind), ended_by_signals():
        run_in_loop(main)
    assert done == ["cleaned up"]


@BOTH
def test_before_the_loop_runs_nothing_begins_and_nothing_is_complained_of(
    number: int, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = uvloop.new_event_loop

    def interrupted() -> asyncio.AbstractEventLoop:
        signal.raise_signal(number)
        return made()

    async def main() -> int:
        pytest.fail("it began")

    monkeypatch.setattr(uvloop, "new_event_loop", interrupted)
    with pytest.raises(kind), ended_by_signals():
        run_in_loop(main)


@BOTH
def test_while_the_loop_closes_it_changes_nothing(number: int, kind: type[BaseException]) -> None:
    begun = []

    async def beside() -> None:
        begun.append(True)
        try:
            await asyncio.sleep(600)
        finally:
            signal.raise_signal(number)

    async def main() -> int:
        main.beside = asyncio.create_task(beside())  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        return 7

    with ended_by_signals():
        before = handlers()
        assert run_in_loop(main) == 7
        assert handlers() == before
    assert begun


def test_who_ignores_ctrl_c_still_does() -> None:
    async def main() -> int:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0)
        return 0

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupts.arm()
    assert run_in_loop(main) == 0
    interrupts.disarm()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


@pytest.mark.parametrize("number", ENDING)
def test_a_command_that_stops_gently_is_told_and_while_it_closes_one_more_is_let_pass(number: int) -> None:
    found: list[Any] = []

    async def main() -> int:
        async with stopping(Common(quiet=True), Live()) as (stop, caught):
            signal.raise_signal(number)
            await stop.gently.wait()
            found.append(stop.now.is_set())
            signal.raise_signal(number)
            await stop.now.wait()
        signal.raise_signal(number)
        await asyncio.sleep(0.01)
        return 128 + caught[0]

    before = handlers()
    assert run_in_loop(main) == 128 + number
    assert found == [False]
    assert handlers() == before


LOST = """
import signal, time
from engine import interrupts

class Held:
    def __del__(self):
        signal.raise_signal(signal.{name})

interrupts.arm()
with interrupts.ended_by_signals():
    held = Held()
    del held
    time.sleep(600)
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", -signal.SIGINT), ("SIGTERM", 143)])
def test_one_that_comes_in_a_finaliser_comes_again(name: str, code: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOST.format(name=name)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == code
    assert "Exception ignored" not in ended.stderr


ON_THE_WAY_OUT = """
import atexit, signal, sys
from engine.cli import main

atexit.register(signal.raise_signal, signal.SIGINT)
sys.argv = ["xinshi", "--version"]
main()
"""


def test_on_the_way_out_it_ends_the_process_without_a_word() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ON_THE_WAY_OUT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")
    assert ended.stdout


WHILE_IT_LOADS = """
import signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "engine.cli.app":
            signal.raise_signal(signal.SIGINT)

from engine.cli import main
sys.meta_path.insert(0, Finder())
main()
"""


def test_while_it_loads_it_ends_it_without_a_traceback() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WHILE_IT_LOADS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
