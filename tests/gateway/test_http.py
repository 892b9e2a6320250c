"""The gateway over real sockets: a server refuses, resets, hangs, redirects, cuts, and closes behind our back."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from engine.errors import BadAnswer, NoAnswer, NotSent, SettingsError
from engine.gateway.http import HttpGateway, Timeouts
from engine.gateway.profile import Profile, load_profile
from engine.gateway.wire import CallRefused, KeywordVerdict, read_reports
from engine.model import Outcome, OutcomeKind, PauseReason, RefusalKind
from tests.gateway.samples import (
    CREDENTIALS,
    NOW,
    balance_answer,
    document,
    faild,
    mobile,
    mobiles,
    send_answer,
    statusbox,
)
from tests.gateway.sockets import Conversation, Script, Server, answering, http, serving
from tests.ports import free_port

STANDARD = load_profile("standard")
OK = http(send_answer(counts="2"))
TEXT = "【信使】您好"


@asynccontextmanager
async def gateway(
    url: str,
    *,
    profile: Profile = STANDARD,
    connect_s: float = 2.0,
    answer_s: float = 5.0,
    keepalive_s: float = 10.0,
    in_flight: int = 4,
) -> AsyncIterator[HttpGateway]:
    timeouts = Timeouts(connect_s=connect_s, answer_s=answer_s, keepalive_s=keepalive_s)
    made = HttpGateway(
        profile=profile,
        url=url,
        credentials=CREDENTIALS,
        timeouts=timeouts,
        in_flight=in_flight,
        clock=lambda: NOW,
    )
    async with made:
        yield made


async def send(client: HttpGateway) -> Outcome:
    return await client.send(client.prepare(TEXT), mobiles(2), batch_size=2)


async def outcome_of(script: Script, **options: float) -> tuple[Outcome, Server]:
    async with serving(script) as server, gateway(server.url, **options) as client:  # type: ignore[arg-type]
        return await send(client), server


# --- not sent -------------------------------------------------------------------------------------------------------------


async def test_a_refused_connection_is_not_sent() -> None:
    async with gateway(f"http://127.0.0.1:{free_port()}") as client:
        outcome = await send(client)
    assert outcome.kind is OutcomeKind.NOT_SENT
    assert "127.0.0.1" not in outcome.reason


async def test_a_name_that_does_not_resolve_is_not_sent() -> None:
    async with gateway("http://gateway.invalid") as client:
        assert (await send(client)).kind is OutcomeKind.NOT_SENT


async def test_a_failed_tls_handshake_is_not_sent() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.reader.read(10)
        await conversation.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        conversation.close()

    async with serving(script) as server, gateway(f"https://127.0.0.1:{server.port}") as client:
        outcome = await send(client)
    assert outcome.kind is OutcomeKind.NOT_SENT
    assert server.requests == []


async def test_a_tls_handshake_that_hangs_is_not_sent() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.server.release.wait()

    async with serving(script) as server, gateway(f"https://127.0.0.1:{server.port}", connect_s=0.1) as client:
        outcome = await send(client)
    assert outcome.kind is OutcomeKind.NOT_SENT
    assert "0.1 s" in outcome.reason


async def test_a_reset_within_the_tls_handshake_is_not_sent() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.reader.read(10)
        conversation.reset()

    async with serving(script) as server, gateway(f"https://127.0.0.1:{server.port}") as client:
        assert (await send(client)).kind is OutcomeKind.NOT_SENT


async def test_waiting_in_vain_for_a_free_connection_is_not_sent() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.server.release.wait()

    async with serving(script) as server, gateway(server.url, connect_s=1, answer_s=3, in_flight=1) as client:
        async with asyncio.TaskGroup() as group:
            sends = [group.create_task(send(client)) for _ in range(6)]  # one more than 1 in flight + 4 spare
            done, _ = await asyncio.wait(sends, return_when=asyncio.FIRST_COMPLETED)
            server.release.set()
        assert [task.result().kind for task in done] == [OutcomeKind.NOT_SENT]
    assert len(server.requests) == 5


async def test_a_kept_connection_that_was_closed_meanwhile_is_not_written_to() -> None:
    """The FIN is in the kernel, but the loop has not read it: the last look before the first byte sees it."""
    async with serving(answering(OK)) as server, gateway(server.url) as client:
        assert (await send(client)).kind is OutcomeKind.ACCEPTED
        server.conversations[0].shut()
        outcome = await send(client)
    assert len(server.requests) == 1
    assert outcome.kind is OutcomeKind.NOT_SENT


async def test_an_idle_connection_that_the_gateway_closed_is_replaced() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.write(OK)
        conversation.close()

    async with serving(script) as server, gateway(server.url) as client:
        assert (await send(client)).kind is OutcomeKind.ACCEPTED
        await server.ended.wait()
        await asyncio.sleep(0.05)  # the FIN travels and is read
        assert (await send(client)).kind is OutcomeKind.ACCEPTED
    assert server.connections == 2


@pytest.mark.parametrize(("keepalive_s", "connections"), [(600, 1), (0.01, 2)])
async def test_an_idle_connection_is_retired_after_its_time(keepalive_s: float, connections: int) -> None:
    async with serving(answering(OK)) as server, gateway(server.url, keepalive_s=keepalive_s) as client:
        await send(client)
        await asyncio.sleep(0.1)
        await send(client)
    assert server.connections == connections


# --- in doubt -------------------------------------------------------------------------------------------------------------


async def reset_before_reading(conversation: Conversation) -> None:
    await conversation.reader.read(1)
    conversation.reset()


async def reset_after_reading(conversation: Conversation) -> None:
    await conversation.request()
    conversation.reset()


async def close_after_reading(conversation: Conversation) -> None:
    await conversation.request()
    conversation.close()


async def cut_within_the_body(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.write(OK[:-40])
    conversation.close()


async def cut_within_the_head(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.write(OK[:30])
    conversation.close()


async def reset_within_the_body(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.write(OK[:-40])
    conversation.reset()


async def cut_without_a_length(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\n\r\n" + send_answer().encode()[:-5]
    )
    conversation.close()


async def cut_within_a_chunk(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n<returnsms>")
    conversation.close()


async def broken_chunks(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await asyncio.sleep(0.02)
    await conversation.write(b"zz\r\n<returnsms>")


async def broken_gzip(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.write(http(b"\x1f\x8b" + b"no gzip at all", "200 OK", "Content-Encoding: gzip"))


async def reset_without_a_length(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\n\r\n" + send_answer().encode()
    )
    await asyncio.sleep(0.05)  # whether it is whole, nobody knows
    conversation.reset()


async def no_http(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.write(b"220 mail.example ESMTP\r\n")
    conversation.close()


async def too_much(conversation: Conversation) -> None:
    await conversation.request()
    await conversation.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")
    with_data = b"x" * 1_000_000
    for _ in range(20):
        await conversation.write(with_data)


@pytest.mark.parametrize(
    "script",
    [
        reset_before_reading,
        reset_after_reading,
        close_after_reading,
        cut_within_the_body,
        cut_within_the_head,
        reset_within_the_body,
        cut_without_a_length,
        cut_within_a_chunk,
        broken_chunks,
        broken_gzip,
        reset_without_a_length,
        no_http,
        too_much,
        answering(http("", "302 Found", "Location: /login.aspx")),
        answering(http("", "307 Temporary Redirect", "Location: /sms.aspx")),
        answering(http("<html>Runtime Error</html>", "500 Internal Server Error")),
        answering(http("<!DOCTYPE html><html>login</html>")),
        answering(http("")),
        answering(http("", "204 No Content")),
        answering(http(send_answer(task="0"))),
        answering(http(faild("其他错误"))),
        answering(http(send_answer(), "500 Internal Server Error")),
    ],
)
async def test_what_fails_after_the_first_byte_is_in_doubt_and_sent_once(script: Script) -> None:
    outcome, server = await outcome_of(script, answer_s=0.5)
    assert outcome.kind is OutcomeKind.IN_DOUBT
    assert outcome.reason
    assert (server.connections, len(server.requests)) in ((1, 1), (1, 0))


async def test_no_answer_in_time_is_in_doubt_and_the_connection_is_reset() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.request()

    async with serving(script) as server, gateway(server.url, answer_s=0.1) as client:
        outcome = await send(client)
        await server.ended.wait()
    assert outcome.kind is OutcomeKind.IN_DOUBT
    assert outcome.reason == "no answer within 0.1 s"
    assert server.endings == ["reset"]


async def test_an_answer_that_drips_is_bounded_by_the_same_time() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        for byte in OK:
            await conversation.write(bytes([byte]))
            await asyncio.sleep(0.01)

    outcome, _ = await outcome_of(script, answer_s=0.3)
    assert outcome.kind is OutcomeKind.IN_DOUBT


async def test_a_slow_answer_within_its_time_is_accepted() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        for start in range(0, len(OK), 60):
            await asyncio.sleep(0.01)
            await conversation.write(OK[start : start + 60])

    outcome, _ = await outcome_of(script)
    assert outcome.kind is OutcomeKind.ACCEPTED


async def test_the_time_to_connect_does_not_shorten_the_time_to_answer() -> None:
    """`answer_s` starts with the first byte: waiting for a connection is another wait."""

    async def script(conversation: Conversation) -> None:
        while True:
            await conversation.request()
            await asyncio.sleep(0.05)
            await conversation.write(OK)

    async with serving(script) as server, gateway(server.url, answer_s=1.5, in_flight=1) as client:
        outcomes = await asyncio.gather(*(send(client) for _ in range(40)))  # the last waits for 2 s
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.ACCEPTED}


async def test_a_connection_in_doubt_is_not_used_again() -> None:
    async with serving(answering(http("<html>login</html>"), OK)) as server, gateway(server.url) as client:
        assert (await send(client)).kind is OutcomeKind.IN_DOUBT
        await server.ended.wait()
        assert server.endings == ["reset"]
        await send(client)
    assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "first_kind"),
    [(OK, OutcomeKind.ACCEPTED), (http("<html>login</html>"), OutcomeKind.IN_DOUBT)],
)
async def test_a_connection_is_lent_again_only_after_its_last_answer_was_judged(
    answer: bytes, first_kind: OutcomeKind
) -> None:
    """A late answer to the first request would be taken for the answer to the second.

    The other worker is woken in the same turn of the loop, and sends before the first has looked at its last piece.
    """

    async def script(conversation: Conversation) -> None:
        while True:
            body = await conversation.request()
            if mobile(0).encode() in body:
                await conversation.write(answer[:-5])
            elif mobile(2).encode() in body:
                await conversation.write(OK)

    async with serving(script) as server, gateway(server.url) as client:
        prepared = client.prepare(TEXT)

        async def send_twice() -> list[Outcome]:
            return [await client.send(prepared, mobile(place), batch_size=1) for place in (1, 2)]

        first = asyncio.create_task(client.send(prepared, mobile(0), batch_size=2))
        await server.received.wait()
        second = asyncio.create_task(send_twice())
        while len(server.requests) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # the first piece is read
        halfway, other = server.conversations
        other.writer.write(http(send_answer(), "200 OK", "Connection: close"))
        halfway.writer.write(answer[-5:])
        assert (await first).kind is first_kind
        assert [outcome.kind for outcome in await second] == [OutcomeKind.ACCEPTED] * 2
    assert server.connections == 3  # the first was not judged yet, the second is closed by its answer
    assert len(server.requests) == 3


async def test_a_connection_on_which_something_came_unasked_is_not_written_to() -> None:
    async with serving(answering(OK + OK, OK)) as server, gateway(server.url) as client:
        assert (await send(client)).kind is OutcomeKind.ACCEPTED
        assert (await send(client)).kind is OutcomeKind.ACCEPTED
    assert server.connections == len(server.requests) == 2


async def test_an_unasked_answer_is_not_taken_for_the_next_one() -> None:
    """It comes while the connection is kept: the next request would be called accepted by it."""
    late = http("<html>too late</html>")
    async with serving(answering(OK, OK)) as server, gateway(server.url) as client:
        assert (await send(client)).kind is OutcomeKind.ACCEPTED
        await server.conversations[0].write(late)
        await asyncio.sleep(0.05)  # it is read
        outcome = await send(client)
    assert outcome.kind is OutcomeKind.NOT_SENT
    assert len(server.requests) == 1


async def test_cancelling_in_flight_is_raised_and_resets_the_connection() -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.request()

    async with serving(script) as server, gateway(server.url) as client:
        task = asyncio.create_task(send(client))
        await server.received.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.ended.wait()
    assert server.endings == ["reset"]
    gc.collect()  # nothing unclosed is left behind: warnings are errors


async def test_a_307_is_not_followed() -> None:
    outcome, server = await outcome_of(answering(http("", "307 Temporary Redirect", "Location: /sms.aspx"), OK))
    assert outcome.kind is OutcomeKind.IN_DOUBT
    assert len(server.requests) == 1


# --- answers --------------------------------------------------------------------------------------------------------------


async def test_connections_are_kept_and_the_request_is_as_documented() -> None:
    async with serving(answering(OK)) as server, gateway(server.url + "/prefix/") as client:
        for _ in range(3):
            outcome = await send(client)
            assert outcome.kind is OutcomeKind.ACCEPTED
            assert (outcome.task_id, outcome.success_counts, outcome.remaining) == ("93390617", 2, Decimal(7863))
            assert outcome.http_status == 200
    assert server.connections == 1
    head = server.heads[0].decode()
    assert head.startswith("POST /prefix/sms.aspx HTTP/1.1\r\n")
    assert "Content-Type: application/x-www-form-urlencoded\r\n" in head
    assert "Cookie" not in head
    assert server.requests[0].startswith(
        b"action=send&userid=12&account=demo&password=p%26ss%2Bw%C3%B6rd%20%E5%AF%86%25&content="
    )


async def test_a_compressed_answer_is_read() -> None:
    packed = http(gzip.compress(send_answer(counts="2").encode()), "200 OK", "Content-Encoding: gzip")
    outcome, _ = await outcome_of(answering(packed))
    assert outcome.kind is OutcomeKind.ACCEPTED


async def test_no_more_of_a_compressed_answer_is_unpacked_than_may_be_read() -> None:
    packer = zlib.compressobj(wbits=31)
    packed = b"".join([packer.compress(b" " * 2**20) for _ in range(100)]) + packer.flush()
    tracemalloc.start()
    try:
        outcome, _ = await outcome_of(answering(http(packed, "200 OK", "Content-Encoding: gzip")))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outcome.kind is OutcomeKind.IN_DOUBT
    assert most < 50e6


async def test_cookies_are_not_sent_back() -> None:
    first = http(send_answer(counts="2"), "200 OK", "Set-Cookie: ASP.NET_SessionId=abc; path=/")
    async with serving(answering(first)) as server, gateway(f"http://localhost:{server.port}") as client:
        await send(client)
        await send(client)
    assert b"Cookie" not in server.heads[1]


async def test_a_404_counts_as_configuration_until_the_application_has_answered() -> None:
    missing = http("<html>404</html>", "404 Not Found")
    async with serving(answering(missing, OK, missing)) as server, gateway(server.url) as client:
        before = await send(client)
        await send(client)
        after = await send(client)
    assert (before.kind, before.pause) == (OutcomeKind.NOT_TAKEN, PauseReason.CONFIGURATION)
    assert after.kind is OutcomeKind.IN_DOUBT


async def test_the_balance_counts_as_an_answer_of_the_same_path() -> None:
    missing = http("<html>404</html>", "404 Not Found")
    async with serving(answering(http(balance_answer()), missing)) as server, gateway(server.url) as client:
        await client.balance()
        assert (await send(client)).kind is OutcomeKind.IN_DOUBT


async def test_429_names_the_time_to_wait() -> None:
    outcome, _ = await outcome_of(answering(http("", "429 Too Many Requests", "Retry-After: 7")))
    assert (outcome.kind, outcome.pause, outcome.retry_after_s) == (OutcomeKind.NOT_TAKEN, PauseReason.THROTTLED, 7.0)


# --- the other calls ------------------------------------------------------------------------------------------------------


async def test_balance() -> None:
    async with serving(answering(http(balance_answer()))) as server, gateway(server.url) as client:
        balance = await client.balance()
    assert (balance.remaining, balance.send_total, balance.prepaid, balance.at) == (
        Decimal(49995),
        Decimal(50000),
        True,
        NOW,
    )
    assert b"action=overage" in server.requests[0]


async def test_balance_refused_says_what_it_is_about() -> None:
    async with serving(answering(http(faild("用户名或密码错误")))) as server, gateway(server.url) as client:
        with pytest.raises(CallRefused) as refused:
            await client.balance()
    assert refused.value.kind is RefusalKind.ACCOUNT


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (reset_after_reading, NoAnswer),
        (close_after_reading, NoAnswer),
        (cut_within_the_body, NoAnswer),
        (answering(http("<html></html>")), BadAnswer),
        (answering(http("")), BadAnswer),
        (answering(http("<html></html>", "404 Not Found")), BadAnswer),
        (answering(http(balance_answer(), "500 Internal Server Error")), BadAnswer),
    ],
)
async def test_a_failed_balance_call_raises(script: Script, error: type[Exception]) -> None:
    async with serving(script) as server, gateway(server.url) as client:
        with pytest.raises(error):
            await client.balance()


async def test_a_balance_call_that_never_connected_raises_not_sent() -> None:
    async with gateway(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(NotSent) as error:
            await client.balance()
    assert error.value.sent == "no"


async def test_check_keywords() -> None:
    answer = http("<returnsms><message>未包含非法字符</message></returnsms>")
    async with serving(answering(answer)) as server, gateway(server.url) as client:
        assert (await client.check_keywords(TEXT)).verdict is KeywordVerdict.CLEAN
    assert b"action=checkkeyword" in server.requests[0]


async def test_reports_and_replies_come_raw_from_their_own_paths() -> None:
    body = document(statusbox(mobile()))
    async with serving(answering(http(body))) as server, gateway(server.url) as client:
        raw = await client.reports(500)
        await client.replies()
    assert (raw.body, raw.charset, raw.at, raw.complete, raw.http_status) == (body, "utf-8", NOW, True, 200)
    assert server.heads[0].startswith(b"POST /statusApi.aspx ")
    assert server.heads[1].startswith(b"POST /callApi.aspx ")
    assert b"statusNum=500" in server.requests[0]


@pytest.mark.parametrize("ending", ["close", "reset", "hang"])
async def test_a_cut_poll_hands_on_what_came_because_it_comes_only_once(ending: str) -> None:
    body = document(statusbox(mobile(1)), statusbox(mobile(2)), statusbox(mobile(3)))

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.write(http(body)[:-100])
        await asyncio.sleep(0.05)
        if ending == "hang":
            await conversation.server.release.wait()
        conversation.reset() if ending == "reset" else conversation.close()

    async with serving(script) as server, gateway(server.url, answer_s=1) as client:
        raw = await client.reports(500)
    assert not raw.complete
    polled = read_reports(raw.body, raw.charset, STANDARD)
    assert [report.mobile for report in polled.reports[:2]] == [mobile(1), mobile(2)]
    assert not polled.whole


async def test_a_poll_without_any_answer_raises() -> None:
    async with serving(reset_after_reading) as server, gateway(server.url) as client:
        with pytest.raises(NoAnswer):
            await client.reports(500)
        with pytest.raises(NoAnswer):
            await client.replies()


async def test_a_poll_answered_by_a_web_server_raises() -> None:
    unavailable = answering(http("<html></html>", "503 Service Unavailable"))
    async with serving(unavailable) as server, gateway(server.url) as client:
        with pytest.raises(BadAnswer) as error:
            await client.reports(500)
    assert error.value.http_status == 503


# --- the sockets ----------------------------------------------------------------------------------------------------------


async def test_the_kernel_gives_up_when_we_do() -> None:
    async with serving(answering(OK)) as server, gateway(server.url, answer_s=3.5) as client:
        await send(client)
        assert client._links is not None
        sock = client._links._kept[0]._socket
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 3500
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert server.connections == 1


@pytest.mark.parametrize(
    "url", ["", "ftp://127.0.0.1", "127.0.0.1:80", "http://u:p@127.0.0.1", "http://127.0.0.1/?a=1"]
)
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        HttpGateway(
            profile=STANDARD,
            url=url,
            credentials=CREDENTIALS,
            timeouts=Timeouts(),
            in_flight=1,
            clock=lambda: datetime.now(UTC),
        )


def test_no_password_is_in_any_repr() -> None:
    prepared = HttpGateway(
        profile=STANDARD,
        url="http://127.0.0.1",
        credentials=CREDENTIALS,
        timeouts=Timeouts(),
        in_flight=1,
        clock=lambda: NOW,
    ).prepare(TEXT)
    assert CREDENTIALS.password not in repr(CREDENTIALS)
    assert "password" not in repr(prepared)
