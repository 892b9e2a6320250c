"""The pace that was given for a campaign stays with it, until another one is given."""

from __future__ import annotations

import signal

from tests.cli.desk import Desk, during, ended, until

SETTINGS = "[pace]\nrequests_per_second = 200\nin_flight = 8\n[batch]\nmax_recipients = 1\n"
SLOW = ("--requests-per-second", "4", "--numbers-per-second", "50", "--in-flight", "3")


def took_s(desk: Desk, *, since: int) -> float:
    """From the first request after so many to the last."""
    times = [send["at"] for send in desk.truth["sends"]][since:]
    return float(times[-1] - times[0])


async def _killed(desk: Desk, *words: str) -> int:
    """Begin a send, and kill it when some requests have come; returns how many had."""
    process = await desk.start(*desk.order("--campaign", "spring", *words))
    await during(process, until(lambda: desk.truth["requests"] >= 3))
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    return int(desk.truth["requests"])


async def test_after_a_kill_a_run_goes_on_at_the_pace_that_was_given(desk: Desk) -> None:
    desk.configure(SETTINGS)
    desk.list(60)
    before = await _killed(desk, *SLOW)
    told = (await desk.run("status", "spring", "--json")).json
    assert told["pace"] == {"requests_per_second": 4, "numbers_per_second": 50, "in_flight": 3}
    process = await desk.start("run", "spring", "--json")
    await during(process, until(lambda: desk.truth["requests"] >= before + 9))
    assert took_s(desk, since=before) > 1  # nine at four a second, however a busy machine holds them up; at 200 a tenth
    asked = await desk.run("pace", "spring")
    assert "4 requests a second and 50 numbers a second, 3 in flight" in asked.output
    process.send_signal(signal.SIGTERM)
    await ended(process)


async def test_a_new_pace_replaces_it_and_what_is_not_said_stays(desk: Desk) -> None:
    desk.configure(SETTINGS)
    numbers = desk.list(60)
    await _killed(desk, *SLOW)
    end = await desk.run("run", "spring", "--requests-per-second", "0", "--numbers-per-second", "0", "--json")
    assert (end.code in (0, 4), end.json["pace"]) == (
        True,
        {"requests_per_second": 0, "numbers_per_second": 0, "in_flight": 3},
    )
    assert set(desk.truth["mobiles"].values()) == {1}
    assert set(desk.truth["mobiles"]) <= set(numbers)
    assert desk.rows("SELECT requests_per_second, numbers_per_second, in_flight FROM campaign") == [(0.0, 0.0, 3)]


async def test_status_and_report_say_whose_pace_it_is(desk: Desk) -> None:
    desk.configure(SETTINGS)
    desk.list(5)
    desk.list(5, seed=2, name="other.csv")
    await desk.run(*desk.order("--campaign", "spring", "--requests-per-second", "40"))
    await desk.run(*desk.order("--campaign", "autumn", name="other.csv"))
    given, not_given = [(await desk.run("status", name)).output for name in ("spring", "autumn")]
    assert "40 requests a second, 8 in flight (given for this campaign)" in given
    assert "200 requests a second, 8 in flight (as the settings say)" in not_given
    assert "40 requests a second, 8 in flight" in (await desk.run("report", "spring")).output
    page = desk.folder / "spring.html"
    assert (await desk.run("report", "spring", "--html", str(page))).code == 0
    assert "40 requests a second, 8 in flight" in page.read_text(encoding="utf-8")


async def test_a_pace_that_is_none_is_refused_with_its_flag(desk: Desk) -> None:
    desk.configure(SETTINGS)
    desk.list(5)
    end = await desk.run(*desk.order("--numbers-per-second", "-1"))
    assert (end.code, desk.campaigns()) == (2, [])
    assert "--numbers-per-second" in end.errors
