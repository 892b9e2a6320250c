"""The password is in no process list, no output and no file but the operator's own."""

from __future__ import annotations

import signal

import pytest

from tests.cli.desk import PASSWORD, TEXT, Desk, children, command_line, ended, until
from tests.numbers import mobile


@pytest.mark.parametrize("settings", [{"latency_s": 1.0}], indirect=True)
async def test_no_process_shows_it_while_a_list_is_read_and_sent(desk: Desk) -> None:
    desk.list(5)
    text = desk.write("text", TEXT)
    process = await desk.start("send", "list.csv", "--text-file", str(text), "--yes", "-vv", anew=True)
    await until(lambda: desk.truth["calls"].get("overage"))
    shown = {pid: command_line(pid) for pid in (process.pid, *children(process.pid))}
    process.send_signal(signal.SIGTERM)
    await ended(process)  # checks what was printed

    assert len(shown) == 3  # itself, who reads the list, and who writes the journal
    assert all(shown.values())
    assert [line for line in shown.values() if PASSWORD in line or TEXT in line or mobile() in line] == []


async def test_no_file_holds_it_after_a_campaign_with_lost_answers(desk: Desk) -> None:
    desk.list(60)
    desk.sim.set_faults({"drop_answer": 0.2, "http_500": 0.2})
    await desk.run(*desk.order("--batch-size", "4", "-vv"))

    files = [path for path in desk.folder.rglob("*") if path.is_file()]
    assert desk.journal in files
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []


async def test_a_wrong_one_is_not_repeated(desk: Desk) -> None:
    wrong = "falsch-" + PASSWORD[::-1]

    end = await desk.run("check", "-vvv", environ={"XINSHI_ACCOUNT__PASSWORD": wrong})

    assert end.code == 5
    assert "用户名或密码错误" in end.output
    assert "check userid, account and the password of the settings" in end.output
    assert wrong not in end.output + end.errors


async def test_what_the_journal_holds_is_for_its_owner_alone(desk: Desk) -> None:
    desk.write("list.csv", "手机号\n" + mobile() + "\n123\n")
    await desk.run(*desk.order())

    files = [path for path in (desk.folder / "state").rglob("*") if path.is_file()]
    assert {path.name.rpartition("_")[2] for path in files} >= {"xinshi.db", "rejects.csv"}
    assert [path for path in files if path.stat().st_mode & 0o077] == []
