"""Ctrl-C, SIGTERM and kill -9, at every stage: nothing is sent twice, and what was not agreed to leaves nothing."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests import nursery
from tests.cli.desk import SOON_S, TEXT, Desk, children, command_line, during, ended, until

PATIENT = "[timeouts]\nanswer_s = 600\ngrace_s = 600\n"  # whoever waits for that is not mistaken for slow
DEAF = pytest.mark.parametrize("settings", [{"latency_s": 600.0}], indirect=True)


async def stderr_says(process: nursery.Started, words: str) -> None:
    """Return when the process has written these words; what it writes later is still to be read."""
    assert process.stderr is not None
    async with asyncio.timeout(SOON_S):
        await process.stderr.readuntil(words.encode())


@pytest.mark.parametrize("settings", [{"latency_s": 0.3}], indirect=True)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_lets_the_answers_under_way_come_in(desk: Desk, number: signal.Signals, code: int) -> None:
    numbers = desk.list(40)
    words = ("--campaign", "spring", "--batch-size", "2", "--in-flight", "4", "--requests-per-second", "0", "--json")
    process = await desk.start(*desk.order(*words))
    await during(process, desk.sim.wait_for_requests(4))  # the first goes alone, so these are in flight now
    process.send_signal(number)
    stopped = await ended(process)

    assert (stopped.code, stopped.json["state"], stopped.json["reasons"]) == (code, "paused", ["stopped"])
    taken = desk.truth["accepted_numbers"]
    recipients = stopped.json["recipients"]
    assert (recipients["accepted"], recipients["planned"]) == (taken, 40 - taken)
    assert 8 <= taken < 40
    desk.sim.change({"latency_s": 0.0})
    rest = await desk.run("run", "spring", "--requests-per-second", "0", "--json")
    assert (rest.code, rest.json["state"]) == (0, "finished")
    desk.check_once(numbers)


@pytest.mark.parametrize("settings", [{"hang_s": 600.0}], indirect=True)
async def test_a_second_signal_ends_at_once_and_what_was_under_way_is_in_doubt(desk: Desk) -> None:
    numbers = desk.list(6)
    desk.configure(PATIENT)
    desk.sim.set_faults({"hang_accept": 1})
    process = await desk.start(*desk.order("--campaign", "spring", "--batch-size", "2", "--json"))
    await during(process, desk.sim.wait_for_accepted(2))
    process.send_signal(signal.SIGINT)
    await stderr_says(process, "once more to stop at once")
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(SOON_S):
        stopped = await ended(process)

    assert stopped.code == 130
    assert (stopped.json["recipients"]["in_doubt"], stopped.json["recipients"]["planned"]) == (2, 4)
    desk.sim.set_faults({})
    rest = await desk.run("run", "spring", "--json")
    # The two that were in doubt had been taken, and were left alone; their reports may have come meanwhile.
    assert (rest.code, rest.json["reasons"]) in [(4, ["in_doubt"]), (0, [])]
    desk.check_once(numbers)


async def writer_of(process: nursery.Started) -> int:
    """The process that writes the journal."""

    def found() -> int:
        for child in children(process.pid):
            with suppress(OSError):
                held = [os.readlink(f"/proc/{child}/fd/{each}") for each in os.listdir(f"/proc/{child}/fd")]
                if any(name.endswith("xinshi.db-wal") for name in held):
                    return child
        return 0

    return int(await until(found))


@contextmanager
def standing_still(pid: int, then: int) -> Iterator[None]:
    """The process is held for the block, then gets a signal."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, then)


async def test_a_second_signal_waits_for_no_writer_that_stands_still(desk: Desk) -> None:
    numbers = desk.list(6)
    desk.sim.set_faults({"hang_accept": 1})
    process = await desk.start(*desk.order("--campaign", "spring", "--batch-size", "2", "--json"))
    await during(process, desk.sim.wait_for_requests(1))
    writer = await writer_of(process)
    with standing_still(writer, signal.SIGKILL):
        process.send_signal(signal.SIGINT)
        await stderr_says(process, "once more to stop at once")
        process.send_signal(signal.SIGINT)
        stopped = await ended(process)

    assert (stopped.code, stopped.output) == (130, "")
    assert "what it was given last is in doubt" in stopped.errors
    await until(lambda: command_line(writer) == "")
    shown = (await desk.run("status", "spring", "--json")).json
    assert (shown["state"], shown["reasons"]) == ("paused", ["stopped"])
    desk.sim.set_faults({})
    rest = await desk.run("run", "spring", "--json")
    assert (rest.code, rest.json["reasons"]) in [(4, ["in_doubt"]), (0, [])]
    assert rest.json["recipients"]["planned"] == 0
    desk.check_once(numbers)


async def test_who_waits_for_a_writer_that_stands_still_is_told_and_loses_nothing(desk: Desk) -> None:
    numbers = desk.list(6)
    desk.sim.change({"latency_s": 1.0})
    process = await desk.start(*desk.order("--campaign", "spring", "--batch-size", "2", "--json"))
    await during(process, desk.sim.wait_for_requests(1))
    writer = await writer_of(process)
    with standing_still(writer, signal.SIGCONT):
        process.send_signal(signal.SIGINT)
        await stderr_says(process, f"process {writer}, which writes the journal, does not answer")
    stopped = await ended(process)

    assert (stopped.code, stopped.json["reasons"], stopped.json["recipients"]["in_doubt"]) == (130, ["stopped"], 0)
    desk.sim.change({"latency_s": 0.0})
    assert (await desk.run("run", "spring")).code == 0
    desk.check_once(numbers)


async def test_killed_while_sending_the_rest_goes_out_and_nobody_twice(desk: Desk) -> None:
    desk.list(40)
    desk.sim.change({"latency_s": 0.2})
    words = ("--campaign", "spring", "--batch-size", "2", "--in-flight", "4", "--requests-per-second", "0")
    process = await desk.start(*desk.order(*words))
    await during(process, desk.sim.wait_for_requests(6))
    process.kill()
    await ended(process)
    desk.sim.change({"latency_s": 0.0})

    shown = (await desk.run("status", "spring", "--json")).json
    rest = await desk.run("run", "spring", "--requests-per-second", "0", "--json")

    assert (shown["state"], shown["reasons"]) == ("paused", ["stopped"])
    assert rest.code in (0, 4)  # what was under way is settled where the balance can tell
    assert rest.json["recipients"]["planned"] == 0
    assert desk.truth["twice"] == 0
    assert desk.truth["accepted_numbers"] == 40  # each of those in doubt had been taken


@DEAF
async def test_a_signal_ends_the_wait_for_a_gateway_that_says_nothing(desk: Desk) -> None:
    desk.list(5)
    desk.configure(PATIENT)
    process = await desk.start(*desk.order("--json"))
    await until(lambda: desk.truth["calls"].get("overage"))
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(SOON_S):
        end = await ended(process)

    assert (end.code, end.output) == (143, "")
    assert "Nothing was sent" in end.errors
    assert desk.rows("SELECT * FROM campaign") == []


async def test_a_signal_ends_the_wait_at_the_beginning_of_a_run_too(desk: Desk) -> None:
    numbers = desk.list(20)
    await desk.run(*desk.order("--campaign", "spring", "--batch-size", "10", "--limit", "10"))
    asked = desk.truth["calls"]["overage"]
    desk.configure(PATIENT)
    desk.sim.change({"latency_s": 600.0})
    process = await desk.start("run", "spring", "--json")
    await until(lambda: desk.truth["calls"]["overage"] > asked)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(SOON_S):
        end = await ended(process)

    assert (end.code, end.json["reasons"]) == (130, ["stopped"])
    desk.sim.change({"latency_s": 0.0})
    assert (await desk.run("run", "spring")).code == 0
    desk.check_once(numbers)


@DEAF
async def test_a_plan_can_be_broken_off(desk: Desk) -> None:
    desk.list(5)
    desk.configure(PATIENT)
    process = await desk.start("plan", "list.csv", "--text", TEXT)
    await until(lambda: desk.truth["calls"].get("overage"))
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(SOON_S):
        end = await ended(process)

    assert (end.code, end.output) == (130, "")


# ── the question ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def keyboard() -> Iterator[tuple[int, int]]:
    """A terminal for standard input: what is written to the first end was typed at the second."""
    typing, terminal = pty.openpty()
    yield typing, terminal
    os.close(typing)
    os.close(terminal)


async def asked(desk: Desk, terminal: int, *words: str) -> nursery.Started:
    process = await desk.start("send", "list.csv", "--text", TEXT, "--kind", "notice", *words, stdin=terminal)
    await stderr_says(process, "[y/N]")
    return process


@pytest.mark.parametrize(("typed", "code"), [(b"y\n", 0), (b"n\n", 5), (b"\x04", 5)])
async def test_only_yes_is_yes(desk: Desk, keyboard: tuple[int, int], typed: bytes, code: int) -> None:
    numbers = desk.list(5)
    process = await asked(desk, keyboard[1])
    os.write(keyboard[0], typed)
    end = await ended(process)

    assert end.code == code
    desk.check_once(numbers if code == 0 else [])
    assert len(desk.rows("SELECT * FROM campaign")) == (1 if code == 0 else 0)


async def test_ctrl_c_at_the_question_leaves_nothing(desk: Desk, keyboard: tuple[int, int]) -> None:
    desk.list(5)
    process = await asked(desk, keyboard[1])
    process.send_signal(signal.SIGINT)
    end = await ended(process)

    assert (end.code, desk.truth["requests"], desk.rows("SELECT * FROM campaign")) == (130, 0, [])


async def test_killed_before_the_answer_nothing_is_visible_and_the_next_send_is_a_new_one(
    desk: Desk, keyboard: tuple[int, int]
) -> None:
    numbers = desk.list(5)
    process = await asked(desk, keyboard[1], "--campaign", "spring")
    assert desk.rows("SELECT state FROM campaign") == [("planning",)]
    process.kill()
    await ended(process)

    assert (await desk.run("status", "--json")).json == []
    assert (await desk.run("run", "spring")).code == 2
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    assert desk.campaigns() == ["spring"]
    desk.check_once(numbers)


# ── the process that reads the list ──────────────────────────────────────────────────────────────────────────────────


async def reader_of(desk: Desk, process: asyncio.subprocess.Process | nursery.Started) -> int:
    """The process that reads the list, while the sender waits for the balance."""
    await until(lambda: desk.truth["calls"].get("overage"))
    (child,) = [each for each in children(process.pid) if "engine.orders.pipeline" in command_line(each)]
    return child


@pytest.mark.parametrize("settings", [{"latency_s": 1.0}], indirect=True)
async def test_the_death_of_the_reading_process_is_an_error_and_nothing_stays(desk: Desk) -> None:
    desk.list(5)
    process = await desk.start(*desk.order("--json"), anew=True)
    os.kill(await reader_of(desk, process), signal.SIGKILL)
    end = await ended(process)

    assert (end.code, end.output) == (2, "")
    assert "list.csv: the process that reads the list was killed by signal 9" in end.errors
    assert (desk.rows("SELECT * FROM campaign"), desk.truth["requests"]) == ([], 0)


@DEAF
async def test_the_reading_process_ends_with_its_parent_and_stays_silent(desk: Desk) -> None:
    desk.list(5)
    process = await desk.start(*desk.order(), anew=True)
    child = await reader_of(desk, process)
    process.kill()
    end = await ended(process)  # also waits until nobody holds its output any more

    assert [line for line in end.errors.splitlines() if not line.startswith("Note: ")] == []
    await until(lambda: "engine.orders.pipeline" not in command_line(child))


# ── one at a time ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_second_run_is_refused_with_the_process_id_of_the_first(desk: Desk) -> None:
    desk.list(6)
    desk.sim.set_faults({"hang_accept": 1})
    process = await desk.start(*desk.order("--campaign", "spring", "--batch-size", "2"))
    await during(process, desk.sim.wait_for_accepted(2))

    same = await desk.run("run", "spring")
    other = await desk.run(*desk.order("--journal", "another.db"))
    seen = await desk.run("status", "spring", "--json")

    assert (same.code, other.code, seen.code) == (75, 75, 0)
    assert f"process {process.pid} is using the journal" in same.errors
    assert f"process {process.pid} is using this gateway account" in other.errors
    assert (seen.json["state"], seen.json["recipients"]["in_flight"]) == ("running", 2)
    assert desk.truth["requests"] == 1
