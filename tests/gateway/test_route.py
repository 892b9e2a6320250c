"""The way to the gateway over real sockets: a CA of one's own, a client certificate, proxies, a source address."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.errors import BadAnswer, GatewayError, NotSent, SettingsError
from engine.gateway.http import HttpGateway, Timeouts
from engine.gateway.profile import load_profile
from engine.gateway.route import Route
from engine.model import Outcome, OutcomeKind, PauseReason
from tests.gateway.proxies import Certificates, Proxy, certified, proxying
from tests.gateway.samples import CREDENTIALS, NOW, balance_answer, mobiles, send_answer
from tests.gateway.sockets import Conversation, answering, http, serving

OK = http(send_answer(counts="2"))
CLOSING = http(send_answer(counts="2"), "200 OK", "Connection: close")
SECRET = "pröxy geheim"
LOGIN = base64.b64encode(f"vendor:{SECRET}".encode())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certified(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def gateway(url: str, route: Route) -> AsyncIterator[HttpGateway]:
    made = HttpGateway(
        profile=load_profile("standard"),
        url=url,
        credentials=CREDENTIALS,
        timeouts=Timeouts(connect_s=2, answer_s=2, keepalive_s=10),
        in_flight=4,
        clock=lambda: NOW,
        route=route,
    )
    async with made:
        yield made


async def send(client: HttpGateway) -> Outcome:
    return await client.send(client.prepare("【信使】您好"), mobiles(2), batch_size=2)


async def answer_each(conversation: Conversation) -> None:
    """Balance or send, each request on its own connection or not."""
    while True:
        body = await conversation.request()
        await conversation.write(http(balance_answer()) if b"action=overage" in body else OK)


async def answer_and_close(conversation: Conversation) -> None:
    body = await conversation.request()
    await conversation.write(
        http(balance_answer(), "200 OK", "Connection: close") if b"action=overage" in body else CLOSING
    )
    conversation.close()


# --- TLS ------------------------------------------------------------------------------------------------------------------


async def test_a_certificate_of_one_s_own_authority_is_trusted_and_only_with_it(certificates: Certificates) -> None:
    async with serving(answer_each, tls=certificates.server_context()) as server:
        async with gateway(server.url, Route()) as client:
            unknown = await send(client)
        async with gateway(server.url, Route(tls_ca=certificates.ca)) as client:
            known = await send(client)
            balance = await client.balance()
    assert (unknown.kind, unknown.reason) == (
        OutcomeKind.NOT_SENT,
        "not sent: the gateway's certificate is not trusted",
    )
    assert known.kind is OutcomeKind.ACCEPTED
    assert balance.remaining is not None
    assert len(server.requests) == 2


async def test_a_gateway_that_asks_for_a_certificate_gets_it(certificates: Certificates) -> None:
    async with serving(answer_each, tls=certificates.server_context(asks_client=True)) as server:
        shown = Route(tls_ca=certificates.ca, tls_cert=certificates.client, tls_key=certificates.client_key)
        async with gateway(server.url, shown) as client:
            assert (await send(client)).kind is OutcomeKind.ACCEPTED
        async with gateway(server.url, Route(tls_ca=certificates.ca)) as client:
            assert (await send(client)).kind is not OutcomeKind.ACCEPTED
    assert len(server.requests) == 1


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, certificates: Certificates) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for route, name in (
        (Route(tls_ca=wrong), "tls_ca"),
        (Route(tls_ca=tmp_path / "missing.pem"), "tls_ca"),
        (Route(tls_cert=wrong), "tls_cert"),
        (Route(tls_cert=certificates.client, tls_key=wrong), "tls_cert"),
    ):
        with pytest.raises(SettingsError, match=name):
            route.tls()


# --- proxies --------------------------------------------------------------------------------------------------------------


async def test_a_proxy_is_told_the_whole_address_and_its_login(certificates: Certificates) -> None:
    async with serving(answer_and_close) as server, proxying(Proxy()) as proxy:
        route = Route(proxy=proxy.url, proxy_user="vendor", proxy_password=SECRET)
        async with gateway(server.url, route) as client:
            assert (await client.balance()).remaining is not None
            for _ in range(2):
                assert (await send(client)).kind is OutcomeKind.ACCEPTED
    assert proxy.passed_on == len(server.requests) == 3
    for head in proxy.heads:
        assert head.startswith(f"POST {server.url}/sms.aspx HTTP/1.1\r\n".encode())
        assert b"\r\nProxy-Authorization: Basic " + LOGIN + b"\r\n" in head
        assert f"\r\nHost: 127.0.0.1:{server.port}\r\n".encode() in head
    assert all(b"Proxy-Authorization" not in head for head in server.heads)


async def test_an_https_gateway_is_reached_through_a_tunnel_that_sees_nothing(certificates: Certificates) -> None:
    async with serving(answer_each, tls=certificates.server_context()) as server, proxying(Proxy()) as proxy:
        route = Route(proxy=proxy.url, proxy_user="vendor", proxy_password=SECRET, tls_ca=certificates.ca)
        async with gateway(server.url, route) as client:
            for _ in range(3):
                assert (await send(client)).kind is OutcomeKind.ACCEPTED
            assert (await client.balance()).remaining is not None
    assert proxy.passed_on == 2  # the sends share a connection; a balance goes on one of its own
    for head in proxy.heads:
        assert head.startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n".encode())
        assert b"Basic " + LOGIN in head
    assert all(head.startswith(b"POST /sms.aspx HTTP/1.1\r\n") for head in server.heads)
    assert all(b"Proxy-Authorization" not in head for head in server.heads)


@pytest.mark.parametrize(
    ("refusal", "pause"),
    [
        (http("", "407 Proxy Authentication Required"), PauseReason.CONFIGURATION),
        (http("", "403 Forbidden"), PauseReason.CONFIGURATION),
        (http("", "502 Bad Gateway"), None),
        (http("", "503 Service Unavailable"), None),
        (b"no http at all\r\n\r\n", None),
        (b"", None),
    ],
)
async def test_a_tunnel_that_is_not_made_is_not_sent(refusal: bytes, pause: PauseReason | None) -> None:
    closed = "https://127.0.0.1:9"
    async with proxying(Proxy(refusal=refusal)) as proxy, gateway(closed, Route(proxy=proxy.url)) as client:
        outcome = await send(client)
        with pytest.raises(NotSent if refusal.startswith(b"HTTP") else GatewayError):
            await client.balance()
    assert (outcome.kind, outcome.pause) == (OutcomeKind.NOT_SENT, pause)
    assert "proxy" in outcome.reason
    assert SECRET not in outcome.reason


@pytest.mark.parametrize(
    ("refusal", "kind", "pause"),
    [
        (http("", "407 Proxy Authentication Required"), OutcomeKind.NOT_TAKEN, PauseReason.CONFIGURATION),
        (http("", "502 Bad Gateway"), OutcomeKind.IN_DOUBT, None),
        (http("", "503 Service Unavailable"), OutcomeKind.IN_DOUBT, None),
        (http("", "503 Service Unavailable", "Retry-After: 5"), OutcomeKind.IN_DOUBT, None),
        (http("", "504 Gateway Timeout"), OutcomeKind.IN_DOUBT, None),
        (b"", OutcomeKind.IN_DOUBT, None),
    ],
)
async def test_a_proxy_that_answers_itself_may_have_passed_the_request_on(
    refusal: bytes, kind: OutcomeKind, pause: PauseReason | None
) -> None:
    """A proxy says 502, 503 and 504 of a gateway that did not answer: whether that took the batch, it does not know."""
    async with (
        proxying(Proxy(refusal=refusal)) as proxy,
        gateway("http://127.0.0.1:9", Route(proxy=proxy.url)) as client,
    ):
        outcome = await send(client)
    assert (outcome.kind, outcome.pause) == (kind, pause)
    assert outcome.may_land_late or kind is not OutcomeKind.IN_DOUBT


async def test_a_proxy_that_hangs_up_after_it_passed_the_batch_on_leaves_it_in_doubt() -> None:
    async with (
        serving(answering(CLOSING)) as server,
        proxying(Proxy(drops_answers=True)) as proxy,
        gateway(server.url, Route(proxy=proxy.url)) as client,
    ):
        outcome = await send(client)
    assert outcome.kind is OutcomeKind.IN_DOUBT
    assert outcome.may_land_late  # the proxy ended the talk, not the gateway
    assert len(server.requests) == 1


async def test_a_proxy_that_is_not_there_is_not_sent() -> None:
    for url in ("http://127.0.0.1:9", "https://127.0.0.1:9"):
        async with gateway(url, Route(proxy="http://127.0.0.1:9")) as client:
            outcome = await send(client)
        assert outcome.kind is OutcomeKind.NOT_SENT
        assert outcome.reason.startswith("not sent: no connection with the proxy: ")


async def test_a_login_that_the_proxy_refuses_is_told_to_who_reads_the_balance() -> None:
    refusal = http("", "407 Proxy Authentication Required")
    async with (
        proxying(Proxy(refusal=refusal)) as proxy,
        gateway("http://127.0.0.1:9", Route(proxy=proxy.url)) as client,
    ):
        with pytest.raises(BadAnswer, match="proxy_user") as caught:
            await client.balance()
    assert caught.value.http_status == 407


def test_no_proxy_password_is_in_a_repr() -> None:
    assert SECRET not in repr(Route(proxy="http://127.0.0.1:9", proxy_user="vendor", proxy_password=SECRET))


# --- the source address ---------------------------------------------------------------------------------------------------


async def test_connections_come_from_the_address_that_was_chosen() -> None:
    async with serving(answer_each) as server, gateway(server.url, Route(source_address="127.0.0.7")) as client:
        assert (await send(client)).kind is OutcomeKind.ACCEPTED
        assert (await client.balance()).remaining is not None
    assert set(server.peers) == {"127.0.0.7"}


async def test_an_address_that_is_not_ours_is_not_sent_and_named() -> None:
    async with serving(answer_each) as server, gateway(server.url, Route(source_address="192.0.2.1")) as client:
        outcome = await send(client)
    assert outcome.kind is OutcomeKind.NOT_SENT
    assert "source_address" in outcome.reason
