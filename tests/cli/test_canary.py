"""Who goes first, on the command line: the rest only when their reports are good, or somebody has looked."""

from __future__ import annotations

import signal

import pytest

from tests.cli.desk import Desk, during, ended, until

SOON = "[tracking]\nreport_interval_s = 0.1\n"
QUICK = {"report_delay_s": 0.2, "undelivered": 0.0}
BAD = {"report_delay_s": 0.2, "undelivered": 0.6}
SILENT = {"report_delay_s": 60.0}
WORDS = ("--campaign", "spring", "--batch-size", "10", "--requests-per-second", "0", "--canary", "20", "--json")


@pytest.mark.parametrize("settings", [QUICK], indirect=True)
async def test_a_canary_that_comes_through_lets_the_rest_go(desk: Desk) -> None:
    numbers = desk.list(60)
    desk.configure(SOON)
    end = await desk.run(*desk.order(*WORDS))
    assert (end.code, end.json["state"]) == (0, "finished")
    desk.check_once(numbers)
    sends = desk.truth["sends"]
    first_of_the_rest = next(send["at"] for n, send in enumerate(sends) if sum(s["taken"] for s in sends[: n + 1]) > 20)
    assert first_of_the_rest - sends[0]["at"] >= QUICK["report_delay_s"]
    assert desk.rows("SELECT canary, canary_passed FROM campaign") == [(20, 1)]


@pytest.mark.parametrize("settings", [BAD], indirect=True)
async def test_a_canary_that_does_not_pauses_with_the_reasons_and_going_on_accepts_them(desk: Desk) -> None:
    numbers = desk.list(60)
    desk.configure(SOON)
    end = await desk.run(*desk.order(*WORDS[:-1]))
    assert end.code == 75
    assert "delivered" in end.output
    assert "80% must be" in end.output
    assert "× 20" in end.output
    assert 10 <= desk.truth["accepted_numbers"] <= 20
    seen = (await desk.run("status", "spring", "--json")).json
    assert (seen["state"], seen["reasons"]) == ("paused", ["canary"])

    rest = await desk.run("run", "spring", "--requests-per-second", "0", "--json")
    assert (rest.code, rest.json["state"]) == (0, "finished")
    desk.check_once(numbers)


@pytest.mark.parametrize("settings", [SILENT], indirect=True)
async def test_too_few_reports_in_time_pause_as_well(desk: Desk) -> None:
    desk.list(60)
    desk.configure(SOON)
    end = await desk.run(*desk.order(*WORDS, "--canary-wait", "1s"))
    assert (end.code, end.json["reasons"]) == (75, ["canary"])
    assert desk.rows("SELECT detail FROM campaign")[0][0].startswith("only 0 of")


@pytest.mark.parametrize("settings", [SILENT], indirect=True)
async def test_a_killed_wait_goes_on_waiting_and_stops_no_earlier(desk: Desk) -> None:
    numbers = desk.list(60)
    desk.configure(SOON)
    process = await desk.start(*desk.order(*WORDS))
    await during(process, until(lambda: desk.rows("SELECT 1 FROM campaign WHERE canary_seq IS NOT NULL")))
    await during(process, desk.sim.wait_for_accepted(11))
    process.kill()
    await process.communicate()
    taken = desk.truth["accepted_numbers"]

    process = await desk.start("run", "spring", "--json")
    asked = desk.sim.truth(detail=False)["calls"]["reports"]  # type: ignore[index]
    await during(process, until(lambda: desk.sim.truth(detail=False)["calls"]["reports"] >= asked + 4))  # type: ignore[index]
    assert taken <= desk.truth["accepted_numbers"] <= 20  # nobody has looked, so nobody has accepted it
    process.send_signal(signal.SIGINT)
    stopped = await ended(process)
    assert (stopped.code, stopped.json["reasons"]) == (130, ["stopped"])

    rest = await desk.run("run", "spring", "--canary", "0", "--json")
    assert (rest.code, rest.json["state"]) == (0, "finished")
    desk.check_once(numbers)


@pytest.mark.parametrize("settings", [SILENT], indirect=True)
async def test_orders_are_obeyed_while_reports_are_awaited(desk: Desk) -> None:
    desk.list(60)
    desk.configure(SOON)
    process = await desk.start(*desk.order(*WORDS))
    await during(process, desk.sim.wait_for_accepted(11))
    assert (await desk.run("pause", "spring")).code == 0
    await during(process, until(lambda: desk.rows("SELECT reasons FROM campaign") == [('["operator"]',)]))
    assert (await desk.run("resume", "spring")).code == 0
    await during(process, until(lambda: desk.rows("SELECT state FROM campaign") == [("running",)]))
    assert (await desk.run("cancel", "spring")).code == 0
    end = await ended(process)
    assert (end.code, end.json["state"]) == (3, "cancelled")
    assert desk.truth["accepted_numbers"] <= 20


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--canary", "20", "--canary-delivered", "80"), "percentage"),
        (("--canary", "20", "--canary-wait", "soon"), "15m"),
        (("--canary-delivered", "80%"), "without --canary"),
    ],
)
async def test_what_is_no_canary_is_said(desk: Desk, words: tuple[str, ...], told: str) -> None:
    desk.list(10)
    end = await desk.run(*desk.order(*words))
    assert (end.code, desk.campaigns(), told in end.errors) == (2, [], True), end.errors


async def test_without_reports_there_is_no_canary(desk: Desk) -> None:
    desk.list(10)
    desk.configure("[tracking]\nenabled = false\n")
    end = await desk.run(*desk.order("--canary", "5"))
    assert (end.code, desk.truth["requests"]) == (2, 0)
    assert "tracking.enabled" in end.errors


@pytest.mark.parametrize("settings", [BAD | {"report_delay_s": 0.0}], indirect=True)
@pytest.mark.parametrize(("most", "code"), [(30, 75), (0, 0)])
async def test_later_too_many_undelivered_pause_unless_nobody_wants_that(desk: Desk, most: int, code: int) -> None:
    desk.list(600)
    desk.configure(f"{SOON}[canary]\nundelivered_spike = {most}\n")
    words = ("--campaign", "spring", "--batch-size", "5", "--requests-per-second", "40", "--json")
    end = await desk.run(*desk.order(*words))
    assert (end.code, end.json["reasons"]) == (code, ["undelivered"] if code else [])
    if code:
        assert 200 <= desk.truth["accepted_numbers"] < 600
        assert "of the last reports" in desk.rows("SELECT detail FROM campaign")[0][0]
