"""Notifications as their readers get them: the real command, a robot and a webhook on loopback."""

from __future__ import annotations

import json
import sys

import pytest

from tests.cli.desk import PASSWORD, TEXT, Desk, during, ended
from tests.cli.test_stopping import stderr_says
from tests.notify.samples import Receiver, receiving

KEY = "73febdcb-geheim"
WORDS = ("--campaign", "spring", "--batch-size", "10", "--requests-per-second", "0", "--json")


def notify(receiver: Receiver, more: str = "") -> str:
    return (
        f'[notify]\nwebhook = "{receiver.url}/hook"\nwecom = "{receiver.url}/wecom?key={KEY}"\n'
        f'dingtalk = "{receiver.url}/dingtalk?access_token={KEY}"\n{more}\n'
    )


def told(receiver: Receiver) -> list[tuple[str, str]]:
    return [(each["event"], each["state"]) for each in receiver.messages if "event" in each]


async def test_the_end_is_told_every_way_and_only_once(desk: Desk) -> None:
    async with receiving() as receiver:
        desk.configure(notify(receiver))
        numbers = desk.list(20)
        environ = {"XINSHI_NOTIFY__DINGTALK_SECRET": "SECxyz"}
        assert (await desk.run(*desk.order(*WORDS), environ=environ)).code == 0
        assert told(receiver) == [("end", "finished")]
        assert sorted(each.get("msgtype", "") for each in receiver.messages) == ["", "markdown", "text"]
        assert any({"access_token", "timestamp", "sign"} <= query.keys() for query in receiver.queries)
        again = await desk.run("run", "spring", "--json")
    assert again.code == 0
    assert told(receiver) == [("end", "finished")]  # nothing was left to do, so nobody is told again
    everything = json.dumps(receiver.messages, ensure_ascii=False)
    (end,) = [each for each in receiver.messages if "event" in each]
    assert (end["account"], end["campaign"], end["recipients"]["accepted"]) == ("default", "spring", 20)
    assert end["points"] == {"charged": 20, "remaining": 4980}
    for secret in (*numbers, TEXT, PASSWORD, "SECxyz"):
        assert secret not in everything


@pytest.mark.parametrize("settings", [{"points": 25}], indirect=True)
async def test_a_pause_a_low_balance_and_going_on_are_told_in_order(desk: Desk) -> None:
    async with receiving() as receiver:
        desk.configure(f'[wait]\npoll_s = 0.1\n[notify]\nwebhook = "{receiver.url}"\nlow_balance_points = 20')
        desk.list(40)
        process = await desk.start(*desk.order("--wait", "--allow-partial", *WORDS))
        await during(process, stderr_says(process, "the points do not reach"))
        desk.sim.top_up(100)
        assert (await ended(process)).code == 0
    assert told(receiver) == [
        ("low_balance", "running"),
        ("pause", "paused"),
        ("pause", "running"),
        ("end", "finished"),
    ]
    pause = receiver.messages[1]
    assert (pause["reasons"], pause["waits"]) == (["balance"], True)


async def test_doubts_are_told(desk: Desk) -> None:
    desk.sim.set_faults({"drop_answer": 1})
    async with receiving() as receiver:
        desk.configure(f'[notify]\nwebhook = "{receiver.url}"\n', account="exclusive = false")
        desk.list(40)
        end = await desk.run(*desk.order(*WORDS))
    assert end.json["recipients"]["in_doubt"] == 30
    assert {event for event, _ in told(receiver)} == {"doubts"}
    assert receiver.messages[-1]["reasons"] == ["doubts"]


async def test_only_what_is_wanted_is_told(desk: Desk) -> None:
    async with receiving() as receiver:
        desk.configure(f'[notify]\nwebhook = "{receiver.url}"\non = ["pause"]\n')
        desk.list(20)
        assert (await desk.run(*desk.order(*WORDS))).code == 0
    assert receiver.messages == []


async def test_nobody_who_listens_changes_nothing(desk: Desk) -> None:
    """Nothing answers at the robots: the campaign ends as ever, and the secret of the address is not shown."""
    desk.configure(f'[notify]\nwecom = "http://127.0.0.1:9/send?key={KEY}"\ncommand = ["/no/such/program"]\n')
    numbers = desk.list(20)
    end = await desk.run(*desk.order(*WORDS))
    assert (end.code, end.json["state"]) == (0, "finished")
    desk.check_once(numbers)
    assert end.errors.count("a notification could not be delivered") == 2
    assert KEY not in end.errors
    assert "127.0.0.1:9" not in end.errors


async def test_a_command_gets_the_message_and_no_password(desk: Desk) -> None:
    script = desk.write("tell.py", "import os, sys\nopen('told', 'w').write(sys.stdin.read() + repr(os.environ))\n")
    desk.configure(f'[notify]\ncommand = ["{sys.executable}", "{script}"]\n')
    desk.list(20)
    assert (await desk.run(*desk.order(*WORDS))).code == 0
    written = (desk.folder / "told").read_text()
    assert json.loads(written.partition("environ(")[0])["event"] == "end"
    assert PASSWORD not in written


async def test_check_sends_a_notification_to_try(desk: Desk) -> None:
    async with receiving() as receiver:
        desk.configure(notify(receiver))
        good = await desk.run("check", "--notify", "--json")
        assert (good.code, good.json["notified"], good.json["problems"]) == (0, ["webhook", "wecom", "dingtalk"], [])
        assert told(receiver) == [("trial", "")]
        receiver.answers = [(200, '{"errcode":93000,"errmsg":"invalid webhook url"}')] * 3
        bad = await desk.run("check", "--notify")
    assert bad.code == 75
    assert "notify.wecom: errcode 93000: invalid webhook url" in bad.output
    assert KEY not in good.output + bad.output


async def test_check_says_where_nobody_would_be_told(desk: Desk) -> None:
    end = await desk.run("check", "--notify")
    assert end.code == 2
    assert "set command, webhook, wecom or dingtalk in [notify]" in end.errors
