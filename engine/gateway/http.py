"""The HTTP side of the gateway. The only place that imports aiohttp.

POST only, no redirects, no cookies, no transparent retry. What matters most here is to know whether a byte of a request may
have been written. So what may not be repeated (a send, a poll) is written by us, on a connection of aiohttp's and read by
its parser: `_Attempt.write` is the one place where bytes leave, so what fails before it was not sent, and what fails from
there on is in doubt. That is also three times as fast as a session. What may be repeated (the balance, a keyword check)
goes through the session. Source: gateway/protocol.md §13, §18.
"""

from __future__ import annotations

import asyncio
import email.message
import errno
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from yarl import URL

from engine.crashing import passing
from engine.errors import BadAnswer, NoAnswer, NotSent, SettingsError
from engine.gateway import outcomes, wire
from engine.gateway.decoding import MAX_ANSWER_BYTES, decoded, shown
from engine.gateway.outcomes import Exchange, TransportFailure, proxy_words
from engine.gateway.profile import Profile
from engine.gateway.route import Route
from engine.gateway.wire import Credentials, KeywordAnswer, PreparedMessage, SendForm
from engine.language import _
from engine.model import Balance, Outcome, OutcomeKind, PauseReason
from engine.terms import system_words

SPARE_CONNECTIONS = 4  # beside the sends in flight: balance, keywords, reports, replies
CONNECTING_ERRORS = (
    aiohttp.ClientConnectorError,  # refused, unreachable, DNS, TLS, certificate: all are its children
    aiohttp.ConnectionTimeoutError,  # connecting, or waiting for a free connection, took too long
    aiohttp.ServerFingerprintMismatch,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    aiohttp.ClientHttpProxyError,  # the proxy's answer to CONNECT: nothing of ours went through it yet
)
# What aiohttp raises for trouble with the other side. TimeoutError is an OSError, InvalidURL a ValueError.
EXCHANGE_ERRORS = (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError, ValueError)

MIDDLEBOX_S = 5.0  # boxes on the way that lose their patience with a silent connection take longer than this
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: closing sends a reset and drops what is unsent
_NO_CEILING = 1e9  # aiohttp rounds timeouts above this many seconds up to whole ones; ours are exact
_UNLIMITED = aiohttp.ClientTimeout(total=None, ceil_threshold=_NO_CEILING)
_CLOSE = {"Connection": "close"}  # what a session reads is never followed by a send on the same connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long each wait may be, in seconds. `answer_s` runs from the first byte written to the last byte read."""

    connect_s: float = 5.0  # a free connection, name, TCP and TLS together
    answer_s: float = 30.0
    keepalive_s: float = 10.0  # an idle connection older than this is not used again


@dataclass(frozen=True, slots=True, kw_only=True)
class RawReply:
    """The answer to a poll as it came. Store it before it is read: the gateway has forgotten what it holds.

    `complete` False: the connection broke or the time was over in the middle; `body` is what had come.
    """

    body: bytes = field(repr=False)  # numbers and what people wrote
    charset: str | None
    at: datetime
    http_status: int
    complete: bool


_STRAIGHT = Route()


class HttpGateway:
    """One account's gateway. An async context manager; one instance belongs to one event loop and one run.

    Raises SettingsError when `url` is no http or https address, or a file of the route is not what it should be.
    """

    def __init__(
        self,
        *,
        profile: Profile,
        url: str,
        credentials: Credentials,
        timeouts: Timeouts,
        in_flight: int,
        clock: Callable[[], datetime],
        route: Route = _STRAIGHT,
    ) -> None:
        self.profile = profile
        self._url = _base_url(url)
        self._credentials = credentials
        self._timeouts = timeouts
        self._in_flight = in_flight
        self._clock = clock
        self._route, self._tls = route, route.tls()
        self._host = URL(self._url).host_port_subcomponent or ""
        self._by_proxy = bool(route.proxy) and self._url.startswith("http:")  # who reads and sends our requests itself
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None
        self._answered: set[str] = set()  # the paths at which the application has answered in this run
        self._form: SendForm | None = None
        self._doors: dict[str, _Door] = {}  # by path
        self._to_connect = aiohttp.ClientTimeout(total=None, connect=timeouts.connect_s, ceil_threshold=_NO_CEILING)

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=self._in_flight + SPARE_CONNECTIONS,
            keepalive_timeout=self._timeouts.keepalive_s,
            socket_factory=self._socket,
            ssl=True if self._tls is None else self._tls,
            local_addr=(self._route.source_address, 0) if self._route.source_address else None,
        )
        self._session = await self._stack.enter_async_context(
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                headers={"Content-Type": wire.CONTENT_TYPE, "User-Agent": "xinshi"},
                timeout=_UNLIMITED,
            )
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session = None
        self._doors.clear()
        await self._stack.aclose()

    def prepare(self, content: str, *, scheduled_for: datetime | None = None) -> PreparedMessage:
        """One text, encoded for this account and profile; see `SendForm.prepare`. Raises PlanError, SettingsError."""
        if self._form is None:
            self._form = SendForm(self.profile, self._credentials)
        return self._form.prepare(content, scheduled_for=scheduled_for)

    async def send(self, prepared: PreparedMessage, mobiles: str, *, batch_size: int) -> Outcome:
        """Hand over one batch, once. Trouble of any kind is an Outcome; only CancelledError is raised, and means in doubt."""
        path = self.profile.paths.send
        attempt = _Attempt()
        exchange = await self._post(attempt, path, prepared.body(mobiles, now=self._clock()))
        outcome = outcomes.outcome_of(
            exchange,
            self.profile,
            answered_before=path in self._answered,
            batch_size=batch_size,
            by_proxy=self._by_proxy,
        )
        if path not in self._answered:
            self._remember(path, exchange)
        attempt.end(sound=outcome.kind is not OutcomeKind.IN_DOUBT)
        return outcome

    async def balance(self) -> Balance:
        """Ask for the points. Safe to repeat. Raises NotSent, NoAnswer, BadAnswer, Refused."""
        body = wire.overage_body(self.profile, self._credentials, now=self._clock())
        answer = await self._call(self.profile.paths.overage, body)
        return wire.read_balance(answer.body, answer.charset, self.profile, at=answer.at)

    async def check_keywords(self, text: str) -> KeywordAnswer:
        """Ask about forbidden words. Safe to repeat. Raises NotSent, NoAnswer, BadAnswer, Refused, PlanError."""
        body = wire.checkkeyword_body(self.profile, self._credentials, text, now=self._clock())
        answer = await self._call(self.profile.paths.checkkeyword, body)
        return wire.read_keywords(answer.body, answer.charset, self.profile)

    async def reports(self, count: int) -> RawReply:
        """Take up to `count` reports, for wire.read_reports. NOT safe to repeat.

        Raises NotSent, NoAnswer (up to `count` reports may be lost), BadAnswer.
        """
        body = wire.reports_body(self.profile, self._credentials, count, now=self._clock())
        return await self._poll(self.profile.paths.reports, body)

    async def replies(self) -> RawReply:
        """Take the uplinks, for wire.read_replies. NOT safe to repeat. Raises NotSent, NoAnswer, BadAnswer."""
        body = wire.replies_body(self.profile, self._credentials, now=self._clock())
        return await self._poll(self.profile.paths.replies, body)

    async def _call(self, path: str, body: bytes) -> Exchange:
        """A call that may be repeated. Its answer must be complete and come with HTTP 200."""
        session = self._opened()
        connected = False
        try:
            async with asyncio.timeout(self._timeouts.connect_s + self._timeouts.answer_s):
                async with session.post(
                    self._url + path,
                    data=body,
                    allow_redirects=False,
                    headers=_CLOSE | (_login(self._route) if self._by_proxy else {}),
                    timeout=self._to_connect,
                    **_proxied(self._route, self._host),
                ) as response:
                    connected = True
                    exchange = _exchange(response.status, response.headers, await _body_of(response), self._clock())
        except EXCHANGE_ERRORS as exc:
            if connected:
                raise NoAnswer(_("the answer was cut off"), http_status=response.status) from exc
            failure = _failure(exc, None, self._timeouts)
            http_status = exc.status if isinstance(exc, aiohttp.ClientHttpProxyError) else None
            raise (NotSent if failure.sent == "no" else NoAnswer)(failure.problem, http_status=http_status) from exc
        self._remember(path, exchange)
        if exchange.status != 200:
            raise _bad_status(exchange)
        return exchange

    async def _poll(self, path: str, body: bytes) -> RawReply:
        """A call whose answer exists only once: whatever may hold a record is handed on, cut or not."""
        attempt = _Attempt()
        exchange = _come(await self._post(attempt, path, body))
        attempt.end(sound=exchange.complete and exchange.status == 200)
        if not exchange.complete and not exchange.body:
            raise NoAnswer(_("the answer was cut off before its first byte"), http_status=exchange.status)
        if exchange.status != 200 and not outcomes.application_spoke(exchange.body):
            raise _bad_status(exchange)
        return RawReply(
            body=exchange.body,
            charset=exchange.charset,
            at=exchange.at,
            http_status=exchange.status,
            complete=exchange.complete,
        )

    def _remember(self, path: str, exchange: Exchange | TransportFailure) -> None:
        if isinstance(exchange, Exchange) and outcomes.application_spoke(exchange.body):
            self._answered.add(path)

    async def _post(self, attempt: _Attempt, path: str, body: bytes) -> Exchange | TransportFailure:
        """One POST. Raises nothing but CancelledError, which leaves the connection aborted."""
        door = self._doors.get(path) or self._made_door(path)
        try:
            attempt.connection = await door.connect(self._to_connect)
            async with asyncio.timeout_at(attempt.begin() + self._timeouts.answer_s):
                attempt.write(door.head % len(body), body)
                await attempt.read()
        except asyncio.CancelledError:
            attempt.end(sound=False)
            raise
        except EXCHANGE_ERRORS as exc:
            attempt.end(sound=False)
            if attempt.message is None:
                if isinstance(exc, TimeoutError) and attempt.began_s is None:
                    exc = aiohttp.ConnectionTimeoutError()
                return _failure(exc, attempt.written_for_s, self._timeouts, proxied=bool(self._route.proxy))
        passing("answer read")
        return attempt.exchange(self._clock())

    def _made_door(self, path: str) -> _Door:
        self._doors[path] = _Door(self._opened(), URL(self._url + path), self._route)
        return self._doors[path]

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the gateway is not open")
        return self._session

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """A socket whose kernel gives up when we do, instead of delivering a request that we have already called lost."""
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            longest_s = max(self._timeouts.connect_s, self._timeouts.answer_s)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, round(longest_s * 1000)))
        return made


# --- one attempt ----------------------------------------------------------------------------------------------------------


class _NotUsableError(aiohttp.ClientConnectionError):
    """A kept connection is closed, or something came on it that nobody asked for, and we saw it before the first byte."""


class _NoTunnelError(aiohttp.ClientConnectionError):
    """The proxy did not make a way to the gateway; nothing but the question for one was written."""


class _Door:
    """One path of the gateway: its connections, and the head of every request to it, but for the length.

    aiohttp makes the head of an empty request once; a session would make it anew for every request.
    """

    def __init__(self, session: aiohttp.ClientSession, url: URL, route: Route) -> None:
        assert session.connector is not None
        self._connector = session.connector
        self._tunnels = bool(route.proxy) and url.scheme == "https"
        self._request = aiohttp.ClientRequest(
            "POST",
            url,
            headers=session.headers,
            loop=asyncio.get_running_loop(),
            session=session,
            **_proxied(route, url.host_port_subcomponent or ""),
        )
        kept = [
            f"{name}: {value}\r\n" for name, value in self._request.headers.items() if name.lower() != "content-length"
        ]
        target = url.raw_path
        if route.proxy and not self._tunnels:  # RFC 9112 §3.2.2: the proxy is told the whole address
            target = str(url)
            kept += [f"{name}: {value}\r\n" for name, value in _login(route).items()]
        lines = f"POST {target} HTTP/1.1\r\n{''.join(kept)}".replace("%", "%%")
        self.head = f"{lines}Content-Length: %d\r\n\r\n".encode("ascii")

    async def connect(self, limits: aiohttp.ClientTimeout) -> Connection:
        """A connection that stands, kept or new. Raises CONNECTING_ERRORS, OSError, which a TimeoutError is."""
        try:
            return await self._connector.connect(self._request, traces=[], timeout=limits)
        except EXCHANGE_ERRORS as exc:
            if not self._tunnels or isinstance(exc, CONNECTING_ERRORS):
                raise
            raise _NoTunnelError from exc  # cut, or no HTTP, while the proxy was being asked for a way


@dataclass(slots=True, kw_only=True, eq=False)
class _Attempt:
    """What is known about one request while it runs."""

    connection: Connection | None = None
    began_s: float | None = None  # on the loop's clock; from then on bytes may have left
    message: RawResponseMessage | None = None  # the status line has come
    chunks: list[bytes] = field(default_factory=list)
    complete: bool = False

    @property
    def written_for_s(self) -> float | None:
        """Seconds since the writing began; None: nothing has left."""
        return None if self.began_s is None else asyncio.get_running_loop().time() - self.began_s

    def begin(self) -> float:
        """The connection stands and nothing is written yet; when the writing begins. Raises when it must not be written to."""
        assert self.connection is not None
        protocol, transport = self.connection.protocol, self.connection.transport
        if protocol is None or transport is None or transport.is_closing() or protocol.should_close:
            raise _NotUsableError
        if not _established(protocol, transport):
            raise _NotUsableError
        protocol.set_response_params(read_until_eof=True)
        self.began_s = asyncio.get_running_loop().time()
        return self.began_s

    def write(self, head: bytes, body: bytes) -> None:
        """Hand the request to the kernel."""
        assert self.connection is not None
        assert self.connection.transport is not None
        passing("request about to be written")
        self.connection.transport.write(head + body)
        passing("request written")

    async def read(self) -> None:
        """Read the answer to its end, or to the limit of size."""
        assert self.connection is not None
        assert self.connection.protocol is not None
        while self.message is None or (self.message.code < 200 and self.message.code != 101):
            message, content = await self.connection.protocol.read()
            self.message = message
        size = 0
        while chunk := await content.readany():
            self.chunks.append(chunk[: MAX_ANSWER_BYTES - size])
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                return
        self.complete = True

    def exchange(self, at: datetime) -> Exchange:
        """What came. Only after `read` was called."""
        assert self.message is not None
        return _exchange(self.message.code, self.message.headers, b"".join(self.chunks), at, complete=self.complete)

    def end(self, *, sound: bool) -> None:
        """Give the connection back when the exchange went well. If not, reset it.

        Then nothing of ours is delivered later, and no late answer is read as that to another request.
        """
        connection, self.connection = self.connection, None
        if connection is None:
            return
        if sound and self.complete:
            connection.release()
            return
        transport = connection.transport
        if transport is not None:
            sock = transport.get_extra_info("socket")
            if self.began_s is not None and sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        connection.close()


def _proxied(route: Route, host: str) -> dict[str, Any]:
    """What aiohttp must know of a proxy. It asks it for a way (CONNECT) to `host` where the gateway speaks https.

    It would add the Host itself when it connects, and then not find its kept connections again: these go by all that.
    """
    if not route.proxy:
        return {}
    return {"proxy": URL(route.proxy), "proxy_headers": {**_login(route), "Host": host}}


def _login(route: Route) -> dict[str, str]:
    return {"Proxy-Authorization": route.proxy_login} if route.proxy_login else {}


def _exchange(status: int, headers: Mapping[str, str], body: bytes, at: datetime, *, complete: bool = True) -> Exchange:
    return Exchange(
        status=status,
        body=body,
        complete=complete,
        at=at.astimezone(UTC),
        charset=_charset(headers.get("Content-Type", "")),
        retry_after=headers.get("Retry-After"),
        location=headers.get("Location"),
    )


@lru_cache(maxsize=64)
def _charset(content_type: str) -> str | None:
    """The charset that a Content-Type names. Nearly always the same one."""
    told = email.message.Message()
    told["Content-Type"] = content_type
    return told.get_content_charset()


async def _body_of(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise aiohttp.ClientPayloadError
    return bytes(body)


_SOCKETS: WeakKeyDictionary[asyncio.BaseProtocol, socket.socket] = (
    WeakKeyDictionary()
)  # a loop makes them anew each time


def _established(protocol: asyncio.BaseProtocol, transport: asyncio.Transport) -> bool:
    """Whether the kernel still calls the connection established: a FIN or RST may have come that the loop has not read."""
    if not hasattr(socket, "TCP_INFO"):
        return True
    sock = _SOCKETS.get(protocol)
    if sock is None:
        sock = _SOCKETS[protocol] = transport.get_extra_info("socket")
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1  # TCP_ESTABLISHED


def _failure(
    exc: Exception, written_for_s: float | None, timeouts: Timeouts, *, proxied: bool = False
) -> TransportFailure:
    """What an error means for the batch, in words that hold no address. `written_for_s`: since we began to write, None: not yet.

    Both must say "no": we did not get to the writing, and the error is one that arises before it. What ends a talk through a
    proxy may be the proxy alone: then the gateway may still take what it was given.
    """
    sure = written_for_s is None and isinstance(exc, (*CONNECTING_ERRORS, _NotUsableError, _NoTunnelError))
    by_the_other = isinstance(exc, aiohttp.ServerDisconnectedError) or getattr(exc, "errno", None) == errno.ECONNRESET
    ended_there = by_the_other and written_for_s is not None and written_for_s < MIDDLEBOX_S and not proxied
    return TransportFailure(
        sent="no" if sure else "maybe",
        problem=_in_words(exc, timeouts),
        ended_there=ended_there,
        pause=PauseReason.CONFIGURATION if sure and _is_forbidden(exc) else None,
    )


def _is_forbidden(exc: Exception) -> bool:
    """Whether the proxy says that it will never let us through: another login or another proxy is needed."""
    return isinstance(exc, aiohttp.ClientHttpProxyError) and exc.status in (401, 403, 405, 407)


def _in_words(exc: Exception, timeouts: Timeouts) -> str:
    match exc:
        case aiohttp.ClientHttpProxyError():
            return _("not sent: the proxy lets nothing through: {problem}").format(problem=proxy_words(exc.status))
        case _NoTunnelError():
            return _("not sent: the proxy made no way to the gateway")
        case aiohttp.ClientProxyConnectionError():
            return _("not sent: no connection with the proxy: {problem}").format(problem=_error_name(exc.os_error))
        case _NotUsableError():
            return _("not sent: the kept connection was closed")
        case aiohttp.ConnectionTimeoutError():
            return _("not sent: no connection within {seconds:g} s").format(seconds=timeouts.connect_s)
        case aiohttp.ClientConnectorDNSError():
            return _("not sent: the gateway's name cannot be resolved")
        case aiohttp.ClientConnectorCertificateError():
            return _("not sent: the gateway's certificate is not trusted")
        case aiohttp.ClientSSLError():
            return _("not sent: no TLS connection with the gateway")
        case aiohttp.ClientConnectorError():
            return _("not sent: no connection: {problem}").format(problem=_error_name(exc.os_error))
        case aiohttp.ServerFingerprintMismatch():
            return _("not sent: the gateway's certificate is another one")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return _("not sent: the gateway's address cannot be used")
        case TimeoutError():
            return _("no answer within {seconds:g} s").format(seconds=timeouts.answer_s)
        case aiohttp.ServerDisconnectedError():
            return _("the gateway closed the connection without an answer")
        case aiohttp.ClientResponseError():
            return _("the answer is no HTTP")
        case OSError():
            return _("the connection broke: {problem}").format(problem=_error_name(exc))
        case _:
            return _("the connection broke: {problem}").format(problem=type(exc).__name__)


def _error_name(exc: OSError) -> str:
    """The system's words. Not the exception's: asyncio writes the address into them."""
    if exc.errno == errno.EADDRNOTAVAIL:
        return _("{problem}: is source_address one of this machine's?").format(problem=system_words(exc))
    return system_words(exc) if exc.errno else type(exc).__name__


def _come(exchange: Exchange | TransportFailure) -> Exchange:
    """The exchange, or the error of a call that has no outcome of its own."""
    if isinstance(exchange, Exchange):
        return exchange
    raise NotSent(exchange.problem) if exchange.sent == "no" else NoAnswer(exchange.problem)


def _bad_status(exchange: Exchange) -> BadAnswer:
    problem = proxy_words(407) if exchange.status == 407 else f"HTTP {exchange.status}"
    return BadAnswer(problem, raw=_raw(exchange), http_status=exchange.status)


def _raw(exchange: Exchange) -> str:
    return shown(decoded(exchange.body[:65_536], exchange.charset) or "")


def _base_url(url: str) -> str:
    """The url without a slash at its end; the profile's paths begin with one."""
    parts = urlsplit(url.strip())
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise SettingsError(_("account.url: must be an http or https address, without name, password or query"))
    return url.strip().rstrip("/")
