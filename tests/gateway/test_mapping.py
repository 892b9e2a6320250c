"""Every error class of aiohttp and what it means for a batch; and the calls' mapping with a doubled session."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions
from aioresponses import aioresponses
from yarl import URL

from engine.errors import BadAnswer, GatewayError, NoAnswer, NotSent
from engine.gateway.http import EXCHANGE_ERRORS, HttpGateway, Timeouts, _failure
from engine.gateway.profile import load_profile
from tests.gateway.samples import CREDENTIALS, NOW, balance_answer

URL_ = "http://127.0.0.1:8888"
TIMEOUTS = Timeouts(connect_s=5, answer_s=30, keepalive_s=10)
KEY: Any = Mock(ssl=True, host="127.0.0.1", port=8888)
REFUSED = ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 8888)")
REQUEST: Any = Mock(real_url=URL_)

NO, MAYBE = "no", "maybe"

# Each class with an example, and what it says before the writing began. Once it has begun, everything says "maybe".
CASES: dict[type[BaseException], tuple[BaseException, str]] = {
    aiohttp.ClientConnectorError: (aiohttp.ClientConnectorError(KEY, REFUSED), NO),
    aiohttp.ClientConnectorDNSError: (aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "unknown")), NO),
    aiohttp.ClientConnectorSSLError: (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "handshake")), NO),
    aiohttp.ClientConnectorCertificateError: (
        aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError("self-signed")),
        NO,
    ),
    aiohttp.ClientSSLError: (aiohttp.ClientSSLError(KEY, OSError(1, "x")), NO),
    aiohttp.ClientProxyConnectionError: (aiohttp.ClientProxyConnectionError(KEY, REFUSED), NO),
    client_exceptions.UnixClientConnectorError: (client_exceptions.UnixClientConnectorError("/x", KEY, REFUSED), NO),
    aiohttp.ConnectionTimeoutError: (aiohttp.ConnectionTimeoutError(), NO),
    aiohttp.ServerFingerprintMismatch: (aiohttp.ServerFingerprintMismatch(b"a", b"b", "127.0.0.1", 1), NO),
    aiohttp.InvalidURL: (aiohttp.InvalidURL("x"), NO),
    aiohttp.InvalidUrlClientError: (aiohttp.InvalidUrlClientError("x"), NO),
    aiohttp.NonHttpUrlClientError: (aiohttp.NonHttpUrlClientError("x"), NO),
    aiohttp.InvalidUrlRedirectClientError: (aiohttp.InvalidUrlRedirectClientError("x"), NO),
    aiohttp.NonHttpUrlRedirectClientError: (aiohttp.NonHttpUrlRedirectClientError("x"), NO),
    aiohttp.RedirectClientError: (aiohttp.RedirectClientError(), MAYBE),
    aiohttp.ClientError: (aiohttp.ClientError(), MAYBE),
    aiohttp.ClientConnectionError: (aiohttp.ClientConnectionError("Connector is closed."), MAYBE),
    aiohttp.ClientConnectionResetError: (aiohttp.ClientConnectionResetError("closing transport"), MAYBE),
    aiohttp.ClientOSError: (aiohttp.ClientOSError(104, "reset"), MAYBE),
    aiohttp.ServerConnectionError: (aiohttp.ServerConnectionError(), MAYBE),
    aiohttp.ServerDisconnectedError: (aiohttp.ServerDisconnectedError(), MAYBE),
    aiohttp.ServerTimeoutError: (aiohttp.ServerTimeoutError(), MAYBE),
    aiohttp.SocketTimeoutError: (aiohttp.SocketTimeoutError(), MAYBE),
    aiohttp.ClientPayloadError: (aiohttp.ClientPayloadError("not completed"), MAYBE),
    client_exceptions.UploadAbortedError: (client_exceptions.UploadAbortedError(), MAYBE),
    aiohttp.ClientResponseError: (aiohttp.ClientResponseError(REQUEST, ()), MAYBE),
    aiohttp.ContentTypeError: (aiohttp.ContentTypeError(REQUEST, ()), MAYBE),
    aiohttp.ClientHttpProxyError: (aiohttp.ClientHttpProxyError(REQUEST, ()), NO),
    aiohttp.TooManyRedirects: (aiohttp.TooManyRedirects(REQUEST, ()), MAYBE),
    aiohttp.WSServerHandshakeError: (aiohttp.WSServerHandshakeError(REQUEST, ()), MAYBE),
}

NEVER_HERE = {client_exceptions.WSMessageTypeError}  # websockets only


def exception_classes(module: Any) -> Iterator[type[BaseException]]:
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == module.__name__:
            yield value


def test_every_error_class_of_aiohttp_is_mapped() -> None:
    assert set(exception_classes(client_exceptions)) == CASES.keys() | NEVER_HERE


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_an_error_says_no_only_before_the_writing(kind: type[BaseException]) -> None:
    error, before = CASES[kind]
    assert isinstance(error, EXCHANGE_ERRORS)
    assert isinstance(error, Exception)
    assert _failure(error, None, TIMEOUTS).sent == before
    assert _failure(error, 0.1, TIMEOUTS).sent == MAYBE


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_no_address_is_in_the_words(kind: type[BaseException]) -> None:
    error, _ = CASES[kind]
    assert isinstance(error, Exception)
    words = _failure(error, None, TIMEOUTS).problem
    assert words
    assert "127.0.0.1" not in words


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError(104, "x"), BrokenPipeError(), ValueError("x")])
def test_python_s_own_errors_never_say_no(error: Exception) -> None:
    assert _failure(error, None, TIMEOUTS).sent == MAYBE


@pytest.mark.parametrize(
    ("error", "after_s", "ended_there"),
    [
        (ConnectionResetError(104, "x"), 0.1, True),
        (aiohttp.ClientOSError(104, "x"), 0.1, True),  # what aiohttp makes of it
        (BrokenPipeError(32, "x"), 0.1, False),
        (aiohttp.ServerDisconnectedError(), 4.9, True),
        (aiohttp.ServerDisconnectedError(), 30.0, False),  # a box on the way may have lost its patience
        (TimeoutError(), 0.1, False),
        (ConnectionResetError(104, "x"), None, False),
    ],
)
def test_only_a_quick_end_from_the_other_side_says_that_nothing_comes_later(
    error: Exception, after_s: float | None, ended_there: bool
) -> None:
    assert _failure(error, after_s, TIMEOUTS).ended_there is ended_there


def test_errors_of_the_http_parser_are_caught() -> None:
    parser_errors = set(exception_classes(http_exceptions))
    assert parser_errors
    assert all(issubclass(kind, EXCHANGE_ERRORS) for kind in parser_errors)


# --- a doubled session ----------------------------------------------------------------------------------------------------


class Response(aiohttp.ClientResponse):
    """aioresponses 0.7.9 does not give the stream_writer that aiohttp 3.14 asks for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"stream_writer": Mock(), **options})


@dataclass(frozen=True)
class Mapped:
    """What the doubled session answers, and what has to come of it. No error: the points left."""

    answer: dict[str, Any]
    error: type[GatewayError] | None


@asynccontextmanager
async def gateway() -> AsyncIterator[HttpGateway]:
    async with HttpGateway(
        profile=load_profile("standard"),
        url=URL_,
        credentials=CREDENTIALS,
        timeouts=TIMEOUTS,
        in_flight=1,
        clock=lambda: NOW,
    ) as made:
        yield made


@pytest.mark.parametrize(
    "case",
    [
        Mapped({"body": balance_answer()}, None),
        Mapped({"body": "<html/>"}, BadAnswer),
        Mapped({"status": 404}, BadAnswer),
        Mapped({"status": 302, "headers": {"Location": "/login.aspx"}}, BadAnswer),
        Mapped({"exception": CASES[aiohttp.ClientConnectorError][0]}, NotSent),
        Mapped({"exception": CASES[aiohttp.ConnectionTimeoutError][0]}, NotSent),
        Mapped({"exception": aiohttp.ServerDisconnectedError()}, NoAnswer),
        Mapped({"exception": TimeoutError()}, NoAnswer),
    ],
)
async def test_a_read_of_the_balance_is_one_post_and_follows_nothing(case: Mapped) -> None:
    with aioresponses() as session:
        session.post(f"{URL_}/sms.aspx", response_class=Response, **case.answer)
        async with gateway() as client:
            with nullcontext() if case.error is None else pytest.raises(case.error):
                assert (await client.balance()).remaining == 49995
        ((method, url), calls) = next(iter(session.requests.items()))
    assert len(calls) == 1
    assert (method, url, calls[0].kwargs["allow_redirects"]) == ("POST", URL(f"{URL_}/sms.aspx"), False)
    assert b"action=overage" in calls[0].kwargs["data"]


async def test_a_cancelled_read_is_raised() -> None:
    with aioresponses() as session:
        session.post(f"{URL_}/sms.aspx", exception=asyncio.CancelledError())  # type: ignore[arg-type]  # no Exception
        async with gateway() as client:
            with pytest.raises(asyncio.CancelledError):
                await client.balance()
