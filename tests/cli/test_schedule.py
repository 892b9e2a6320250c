"""`--gateway-schedule` on the command line: handed over now, sent and reported then; what is refused; what a kill leaves."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.cli.desk import TEXT, Desk, during, ended, for_each, until

CHINA = timezone(timedelta(hours=8))
FORM = "%Y-%m-%d %H:%M"
FAST = 1e7  # so fast the gateway's own clock runs that hours are moments
QUIET = {"report_delay_s": 0.0, "undelivered": 0.0}
WORDS = ("--campaign", "spring", "--batch-size", "5")


def later(**how: float) -> str:
    """A whole minute from now on in China, as an operator writes it."""
    return f"{datetime.now(CHINA) + timedelta(**how):{FORM}}"


def at(written: str) -> float:
    """The same as a Unix time."""
    return datetime.strptime(written, FORM).replace(tzinfo=CHINA).timestamp()


def iso(written: str) -> str:
    return datetime.fromtimestamp(at(written), UTC).isoformat()


def off(**how: float) -> dict[str, str]:
    """The environment of a command whose clock is ahead."""
    return {"_XINSHI_CLOCK": f"{timedelta(**how).total_seconds()}"}


def asked_for(desk: Desk) -> set[float | None]:
    """The times that accepted requests carried."""
    return {send["send_at"] for send in desk.truth["sends"] if send["taken"]}


@pytest.mark.parametrize("settings", [QUIET], indirect=True)
async def test_it_is_handed_over_now_and_reported_after_its_time(desk: Desk) -> None:
    numbers, time = desk.list(30), later(hours=2)
    end = await desk.run(*desk.order(*WORDS, "--gateway-schedule", time, "--json"))
    assert (end.code, end.json["state"], end.json["scheduled_for"]) == (0, "finished", iso(time))
    desk.check_once(numbers)
    assert asked_for(desk) == {at(time)}
    assert desk.truth["scheduled"] == 30

    assert (await desk.run("track", "--once")).code == 0
    shown = await desk.run("status", "spring")
    assert f"{time} China time: the gateway sends then what it has accepted" in shown.output
    assert (await desk.run("status", "spring", "--json")).json["delivery"]["unreported"] == 30
    (trace,) = (await desk.run("why", numbers[0], "--json")).json
    assert trace["attempts"][0]["scheduled_for"] == iso(time)
    table = await desk.run(
        "export", "spring", "--output", "-", "--format", "csv", "--columns", "number,state,scheduled"
    )
    assert table.output.splitlines()[1] == f"{numbers[0]},accepted,{time}:00"
    assert (await desk.run("report", "spring", "--html", "spring.html")).code == 0
    page = (desk.folder / "spring.html").read_text("utf-8")
    assert f"{time} China time: the gateway sends then what it has accepted" in page

    desk.sim.change({"clock_speed": FAST})
    await until(lambda: desk.sim.truth(detail=False)["scheduled"] == 0)
    assert (await desk.run("track", "--once")).code == 0
    told = (await desk.run("status", "spring", "--json")).json
    assert told["delivery"] == {"delivered": 30, "undelivered": 0, "unreported": 0}
    audit = await desk.run("audit", "spring", "--truth", desk.sim.url)
    assert audit.code == 0, audit.output


async def test_without_the_flag_the_time_on_the_wire_is_empty(desk: Desk) -> None:
    desk.list(5)
    end = await desk.run(*desk.order("--campaign", "spring", "--json"))
    assert (end.code, asked_for(desk), "scheduled_for" in end.json) == (0, {None}, False)
    table = await desk.run("export", "spring", "--output", "-", "--format", "csv", "--columns", "state,scheduled")
    assert table.output.splitlines()[1] == "accepted,"


async def test_the_next_time_it_is_that_hour_as_with_at(desk: Desk) -> None:
    desk.list(5)
    soon = datetime.now(CHINA) + timedelta(hours=3)
    end = await desk.run(*desk.order("--gateway-schedule", f"{soon:%H:%M}", "--json"))
    assert (end.code, asked_for(desk)) == (0, {at(f"{soon:{FORM}}")})


async def test_what_was_sent_at_once_gets_no_time_afterwards(desk: Desk) -> None:
    desk.list(5)
    assert (await desk.run(*desk.order(*WORDS))).code == 0
    for words in (desk.order(*WORDS), ("run", "spring")):
        end = await desk.run(*words, "--gateway-schedule", later(hours=1))
        assert (end.code, "the gateway was told to send it at once" in end.errors) == (5, True), end.errors
    assert "scheduled_for" not in (await desk.run("status", "spring", "--json")).json
    assert desk.truth["requests"] == 1


@pytest.mark.parametrize("settings", [{"send_time_format": "%Y/%m/%d %H:%M:%S"}], indirect=True)
async def test_the_profile_says_how_the_time_is_written(desk: Desk) -> None:
    desk.list(5)
    words, time = ("--campaign", "spring", "--json"), later(hours=1)
    end = await desk.run(*desk.order(*words, "--gateway-schedule", time))
    assert (end.code, end.json["recipients"]["refused"]) == (3, 5)  # and the gateway's words are shown
    assert "参数错误" in (await desk.run("status", "spring")).output

    own = desk.write("own.toml", 'extends = "standard"\nsend_time_format = "%Y/%m/%d %H:%M:%S"\n')
    desk.configure(account=f'profile = "{own}"')
    end = await desk.run(*desk.order("--again", "--gateway-schedule", time, "--json"))
    assert (end.code, asked_for(desk)) == (0, {at(time)})


def _refused() -> list[tuple[tuple[str, ...], int, tuple[str, ...]]]:
    evening = f"{datetime.now(CHINA) + timedelta(days=1):%Y-%m-%d} 22:00"
    return [
        (("2020-01-01 09:00",), 5, ("2020-01-01 09:00", "over", "later time")),
        ((later(seconds=0),), 5, ("less than a minute", "later time")),
        ((later(days=31),), 5, ("more than 30 days", "--at")),
        ((later(hours=1), "--at", later(minutes=30)), 2, ("--at", "leave one away")),
        ((evening, "--window", "08:30-20:00"), 5, ("22:00", "08:30-20:00", "--window any")),
        ((evening, "--expire", evening.replace("22:", "21:")), 5, ("--expire", "21:00", "22:00")),
        ((later(hours=1), "--canary", "5"), 2, ("--canary", "--test")),
        (("noon",), 2, ("'noon'", "write 2026-11-23 09:00", "'now' takes it back")),
    ]


@pytest.mark.parametrize("command", ["send", "plan"])
async def test_what_cannot_be_is_refused_with_the_flag_and_what_to_do(desk: Desk, command: str) -> None:
    async def check(one: Desk, case: tuple[tuple[str, ...], int, Sequence[str]]) -> None:
        one.list(5)
        words, code, told = case
        order = one.order("--gateway-schedule", *words)
        end = await one.run(*order) if command == "send" else await one.run("plan", *order[1:4], *order[5:])
        assert (end.code, one.campaigns()) == (code, []), end.errors
        assert "--gateway-schedule" in end.errors
        for word in told:
            assert word in end.errors, end.errors

    await for_each(desk, _refused(), check)
    assert desk.truth["requests"] == 0


async def test_hours_are_for_the_time_of_sending_not_of_handing_over(desk: Desk) -> None:
    numbers, now = desk.list(5), datetime.now(CHINA)
    begin, end = (now + timedelta(hours=hours) for hours in (2, 4))
    time = f"{now + timedelta(hours=3):{FORM}}"
    sent = await desk.run(*desk.order("--window", f"{begin:%H:%M}-{end:%H:%M}", "--gateway-schedule", time, "--json"))
    assert (sent.code, asked_for(desk)) == (0, {at(time)})
    desk.check_once(numbers)


async def test_the_preview_says_when_and_what_nobody_can_undo(desk: Desk) -> None:
    desk.list(600)
    words, time = ("plan", "list.csv", "--text", TEXT, "--batch-size", "1"), later(minutes=11)
    shown = (await desk.run(*words, "--requests-per-second", "0", "--gateway-schedule", time)).output
    assert f"{time} China time: the gateway keeps it and sends it then" in shown
    assert "cannot be taken back: `cancel` and opt-outs reach only the rest" in shown
    assert "reports come after that time" in shown
    assert "now, until about" in shown
    slow = (await desk.run(*words, "--requests-per-second", "0.5", "--gateway-schedule", time)).output
    assert re.search("at this pace (4[5-9]|50)% until", slow), slow  # ten minutes of twenty
    plan = (await desk.run(*words, "--gateway-schedule", time, "--json")).json
    assert plan["scheduled_for"] == iso(time)
    assert desk.truth["requests"] == 0


async def test_the_sign_off_covers_the_time(desk: Desk) -> None:
    desk.list(5)
    words, time, other = ("plan", "list.csv", "--text", TEXT, "--json"), later(hours=2), later(hours=3)
    plain, signed, again = [
        (await desk.run(*words, *more)).json["plan_hash"]
        for more in ((), ("--gateway-schedule", time), ("--gateway-schedule", time.replace(" ", "T") + ":00+08:00"))
    ]
    assert plain != signed == again
    for more in ((), ("--gateway-schedule", other)):
        refused = await desk.run("send", "list.csv", "--text", TEXT, "--plan", signed, *more)
        assert (refused.code, desk.truth["requests"]) == (5, 0)
        assert "when the gateway sends it (--gateway-schedule)" in refused.errors
        assert iso(time) in refused.errors
    sent = await desk.run("send", "list.csv", "--text", TEXT, "--plan", signed, "--gateway-schedule", time)
    assert (sent.code, asked_for(desk)) == (0, {at(time)})


async def killed_in_the_middle(desk: Desk, time: str) -> int:
    """A send of 60 that is killed. Returns how many were accepted by then."""
    words = (*WORDS, "--requests-per-second", "4", "--in-flight", "1", "--gateway-schedule", time, "--json")
    process = await desk.start(*desk.order(*words))
    await during(process, desk.sim.wait_for_accepted(10))
    process.kill()
    await process.communicate()
    taken = int(desk.truth["accepted_numbers"])
    assert 10 <= taken < 60
    return taken


async def test_after_a_kill_the_rest_carries_the_same_time(desk: Desk) -> None:
    numbers, time = desk.list(60), later(hours=2)
    await killed_in_the_middle(desk, time)
    rest = await desk.run("run", "spring", "--requests-per-second", "0", "--json")
    assert (rest.code, rest.json["scheduled_for"]) == (0, iso(time))
    desk.check_once(numbers)
    assert asked_for(desk) == {at(time)}
    with closing(sqlite3.connect(desk.journal)) as journal:
        kept = journal.execute("SELECT DISTINCT scheduled_for FROM attempt").fetchall()
    assert kept == [(int(at(time) * 1_000_000),)]


async def test_when_the_time_is_over_the_rest_pauses_until_somebody_decides(desk: Desk) -> None:
    numbers, time = desk.list(60), later(hours=2)
    taken = await killed_in_the_middle(desk, time)
    next_day = off(hours=4)
    for _ in range(2):  # a clock job may try as often as it likes
        rest = await desk.run("run", "spring", "--json", environ=next_day)
        assert (rest.code, rest.json["state"], rest.json["reasons"]) == (75, "paused", ["schedule"])
    desk_says = await desk.run("status", "spring", environ=next_day)
    assert f"it was to be sent at {time} China time" in desk_says.output
    assert "--gateway-schedule TIME" in desk_says.output
    again = await desk.run(*desk.order(*WORDS, "--gateway-schedule", time), environ=next_day)
    assert (again.code, "is over" in again.errors) == (5, True)  # the order itself, given again
    assert desk.truth["accepted_numbers"] == taken

    other = later(hours=7)
    words = ("run", "spring", "--requests-per-second", "0", "--json", "--gateway-schedule")
    rest = await desk.run(*words, other, environ=next_day)
    assert (rest.code, rest.json["scheduled_for"]) == (0, iso(other))
    desk.check_once(numbers)
    assert asked_for(desk) == {at(time), at(other)}
    gone = await desk.run(*words, "now", environ=next_day)
    assert (gone.code, "nothing of spring is left" in gone.errors) == (5, True)


async def test_the_rest_is_sent_at_once_where_somebody_says_so(desk: Desk) -> None:
    numbers, time = desk.list(60), later(hours=2)
    await killed_in_the_middle(desk, time)
    words = ("run", "spring", "--requests-per-second", "0", "--json", "--gateway-schedule", "now")
    rest = await desk.run(*words, environ=off(hours=4))
    assert (rest.code, "scheduled_for" in rest.json) == (0, False)
    desk.check_once(numbers)
    assert asked_for(desk) == {at(time), None}


async def test_when_the_time_comes_while_it_is_handed_over_the_rest_pauses(desk: Desk) -> None:
    desk.list(60)
    soon = datetime.now(CHINA).replace(second=0, microsecond=0) + timedelta(hours=2)
    near = off(seconds=(soon - datetime.now(CHINA)).total_seconds() - 75)  # so much before it
    words = (*WORDS, "--requests-per-second", "0.5", "--gateway-schedule", f"{soon:{FORM}}", "--json")
    end = await desk.run(*desk.order(*words), environ=near)
    taken = desk.truth["accepted_numbers"]
    assert (end.code, end.json["reasons"], end.json["recipients"]["accepted"]) == (75, ["schedule"], taken)
    assert 0 < taken < 60
    ahead = timedelta(seconds=float(near["_XINSHI_CLOCK"]))
    last = max(datetime.fromtimestamp(send["at"], UTC) for send in desk.truth["sends"]) + ahead
    assert last <= soon - timedelta(seconds=55)  # a minute, and what a loaded machine takes


async def test_cancel_says_what_it_does_not_reach(desk: Desk) -> None:
    desk.list(60)
    time = later(hours=2)
    taken = await killed_in_the_middle(desk, time)
    said = await desk.run("cancel", "spring")
    assert said.code == 0
    assert f"cannot be taken back: the gateway sends it at {time} China time" in said.output
    assert (desk.truth["accepted_numbers"], desk.truth["scheduled"]) == (taken, taken)


async def test_a_lost_answer_is_never_called_not_taken_before_the_gateway_shows_when_it_charges(desk: Desk) -> None:
    """Of the first requests with a time nobody knows whether they are charged now, so that no charge is missing proves nothing."""
    desk.list(40, name="before.csv")
    before = ("--batch-size", "5", "--requests-per-second", "0")
    assert (await desk.run(*desk.order(*before, name="before.csv", text="【测试】早些时候"))).code == 0
    desk.list(5, seed=2)
    desk.sim.set_faults({"reset_before": 1.0})
    process = await desk.start(*desk.order("--campaign", "spring", "--gateway-schedule", later(hours=2), "--json"))
    waits = "SELECT waits_for FROM attempt WHERE waits_for LIKE '%charges what it sends later%'"
    end = await ended(process)
    assert (end.code, end.json["recipients"]["in_doubt"]) == (4, 5)
    assert desk.rows(waits)
    assert len(desk.rows("SELECT 1 FROM attempt WHERE outcome = 'in_doubt' AND evidence IS NULL")) == 1


async def test_once_answers_show_when_it_charges_lost_ones_are_handed_over_again_with_the_time(desk: Desk) -> None:
    numbers, time = desk.list(60), later(hours=2)
    desk.sim.set_faults({"reset_before": 0.2})
    words = ("--campaign", "spring", "--batch-size", "3", "--in-flight", "4", "--requests-per-second", "40")
    end = await desk.run(*desk.order(*words, "--gateway-schedule", time, "--json"))
    assert (end.code, end.json["recipients"]["accepted"]) == (0, 60), end.errors
    desk.check_once(numbers)
    assert asked_for(desk) == {at(time)}
    assert desk.rows("SELECT 1 FROM attempt WHERE evidence LIKE 'not taken:%'")
