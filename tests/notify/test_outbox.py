"""The ways out: every answer and failure mapped, a few attempts, nothing ever raised, no secret in a log."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses
from yarl import URL

from engine import telemetry
from engine.dispatch.retry import RetryPolicy
from engine.errors import NotTold
from engine.model import PauseReason
from engine.notify import Channels, Notice, Outbox, notice_of
from engine.notify.command import start
from engine.notify.posting import post
from tests.gateway.test_mapping import CASES, Response
from tests.notify.samples import ended, paused, receiving

AT_ONCE = RetryPolicy(attempts=3, wait_s=0, wait_max_s=0)
ALL = frozenset({"pause", "end", "low_balance", "doubts"})
KEY = "73febdcb-geheim"
WECOM = f"https://wecom.example/cgi-bin/webhook/send?key={KEY}"


def notice(**how: Any) -> Notice:
    made = notice_of(paused(PauseReason.BALANCE, **how), account="north")
    assert made is not None
    return made


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    monkeypatch.setattr(telemetry, "_secrets", set())
    stream, root = io.StringIO(), logging.getLogger()
    before = root.level, telemetry.logger.level
    telemetry.configure_logging(0, stream=stream)
    yield stream
    root.handlers[:] = [handler for handler in root.handlers if handler.name != "xinshi"]
    root.setLevel(before[0])
    telemetry.logger.setLevel(before[1])


# ── posting, with a doubled session ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "problem", "may_help"),
    [
        ({"status": 404}, "HTTP 404", False),
        ({"status": 302, "headers": {"Location": "/login"}}, "HTTP 302", False),
        ({"status": 429}, "HTTP 429", True),
        ({"status": 502}, "HTTP 502", True),
        ({"exception": TimeoutError()}, "no answer within 5 s", True),
        ({"exception": CASES[aiohttp.ClientConnectorDNSError][0]}, "its name cannot be resolved", True),
        ({"exception": CASES[aiohttp.ClientConnectorCertificateError][0]}, "its certificate is not trusted", True),
        ({"exception": CASES[aiohttp.ClientConnectorError][0]}, "no connection: Connection refused", True),
        ({"exception": aiohttp.ServerDisconnectedError()}, "the connection failed: ServerDisconnectedError", True),
        ({"exception": aiohttp.InvalidURL(WECOM)}, "the address cannot be used", False),
    ],
)
async def test_what_fails_is_said_without_the_address(answer: dict[str, Any], problem: str, may_help: bool) -> None:
    with aioresponses() as session:
        session.post(WECOM, response_class=Response, **answer)
        with pytest.raises(NotTold) as caught:
            await post(WECOM, b"{}", timeout_s=5)
    assert (str(caught.value), caught.value.may_help) == (problem, may_help)


async def test_a_post_is_json_and_follows_nothing() -> None:
    with aioresponses() as session:
        session.post(WECOM, response_class=Response, body=b'{"errcode":0}')
        assert await post(WECOM, '{"a":"信使"}'.encode(), timeout_s=5) == b'{"errcode":0}'
        ((method, url), (call,)) = next(iter(session.requests.items()))
    assert (method, url, call.kwargs["allow_redirects"]) == ("POST", URL(WECOM), False)
    assert call.kwargs["data"] == '{"a":"信使"}'.encode()
    assert call.kwargs["headers"]["Content-Type"].startswith("application/json")


async def test_every_way_gets_its_own_format() -> None:
    channels = Channels(
        on=ALL,
        webhook="https://ops.example/hook",
        wecom=WECOM,
        dingtalk="https://dingtalk.example/robot/send?access_token=abc",
        dingtalk_secret="SECxyz",
    )
    bodies: dict[str, Any] = {}
    with aioresponses() as session:
        for host in ("ops", "wecom", "dingtalk"):
            session.post(_at(host), response_class=Response, body=b'{"errcode":0}')
        assert [each.problem for each in await Outbox(channels, retry=AT_ONCE).deliver(notice())] == ["", "", ""]
        for (_, url), (call,) in session.requests.items():
            bodies[str(url.host)] = json.loads(call.kwargs["data"])
            if url.host == "dingtalk.example":
                assert set(url.query) == {"access_token", "timestamp", "sign"}
    assert bodies["ops.example"]["event"] == "pause"
    assert bodies["wecom.example"] == {"msgtype": "text", "text": {"content": notice().text}}
    assert bodies["dingtalk.example"]["markdown"]["title"] == notice().title


def _at(host: str) -> Any:
    import re

    return re.compile(rf"^https://{host}\.example/")


async def test_what_may_help_is_tried_again_and_what_may_not_is_not() -> None:
    outbox = Outbox(Channels(on=ALL, wecom=WECOM), retry=AT_ONCE)
    for answers, problem in (
        ([{"status": 502}, {"exception": TimeoutError()}, {"body": b'{"errcode":0}'}], ""),
        ([{"status": 502}] * 3, "HTTP 502"),
        ([{"body": b'{"errcode":93000,"errmsg":"no"}'}], "errcode 93000: no"),
    ):
        with aioresponses() as session:
            for answer in answers:
                session.post(WECOM, response_class=Response, **answer)
            (told,) = await outbox.deliver(notice())
            assert told.problem == problem
            assert sum(map(len, session.requests.values())) == len(answers)


# ── the outbox ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_notices_are_told_in_order_and_only_those_that_are_wanted() -> None:
    finished = notice_of(ended(), account="north")
    assert finished is not None
    async with receiving() as receiver:
        channels = Channels(on=frozenset({"pause"}), webhook=receiver.url)
        async with Outbox.open(channels) as outbox:
            for campaign in ("a", "b", "c"):
                outbox.put(notice(campaign=campaign))
                outbox.put(finished)
    assert [each["campaign"] for each in receiver.messages] == ["a", "b", "c"]


async def test_a_way_that_leads_nowhere_is_logged_without_its_secret_and_stops_nothing(log: io.StringIO) -> None:
    wecom = f"http://127.0.0.1:9/send?key={KEY}"
    async with receiving() as receiver:
        channels = Channels(on=ALL, wecom=wecom, webhook=receiver.url, command=("/no/such/program",))
        async with Outbox.open(channels) as outbox:
            outbox._retry = AT_ONCE
            outbox.put(notice())
    assert len(receiver.messages) == 1
    assert log.getvalue().count("could not be delivered") == 2
    assert KEY not in log.getvalue()
    assert "127.0.0.1:9" not in log.getvalue()


async def test_the_end_does_not_wait_for_ever(log: io.StringIO) -> None:
    held = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.set()
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    channels = Channels(on=ALL, webhook=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s=600)
    async with asyncio.timeout(100):
        async with Outbox.open(channels, flush_s=0.1) as outbox:
            outbox.put(notice())
            await held.wait()
    assert "given up at the end" in log.getvalue()
    server.close()
    await server.wait_closed()


# ── a program ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_program_reads_the_message_and_gets_none_of_our_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XINSHI_ACCOUNT__PASSWORD", "geheim")
    script = "import os, sys; open(sys.argv[1], 'w').write(sys.stdin.read() + ','.join(sorted(os.environ)))"
    told = tmp_path / "told; rm -rf nothing"  # no shell reads it
    await start((sys.executable, "-c", script, str(told)), b"message", timeout_s=20)
    assert told.read_text().startswith("message")
    assert "XINSHI" not in told.read_text()


async def test_a_program_that_fails_says_how() -> None:
    with pytest.raises(NotTold, match=r"ended with code 3: no route$"):
        await start(
            (sys.executable, "-c", "import sys; print('no route', file=sys.stderr); sys.exit(3)"), b"", timeout_s=20
        )


async def test_a_program_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    script = 'sleep 600 & echo "$$ $!" > "$1"; wait'  # no Python: on a busy machine that may not begin in two seconds
    with pytest.raises(NotTold, match=r"did not end within 2 s"):
        await start(("/bin/sh", "-c", script, "sh", str(ids)), b"", timeout_s=2)
    async with asyncio.timeout(100):
        for pid in map(int, ids.read_text().split()):
            while Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
                await asyncio.sleep(0.01)
