"""The HTTP side of the gateway. The only place that imports aiohttp.

POST only, one session, no redirects, no cookies, no transparent retry. What matters most here is to know whether a byte of
a request may have been written: `_Request.send` is the one place where aiohttp begins to write, so what fails before it was
not sent, and what fails from there on is in doubt. Source: gateway/protocol.md §13, §18.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.connector import Connection

from engine.crashing import passing
from engine.errors import BadAnswer, NoAnswer, NotSent, SettingsError
from engine.gateway import outcomes, wire
from engine.gateway.decoding import MAX_ANSWER_BYTES, decoded, shown
from engine.gateway.outcomes import Exchange, TransportFailure
from engine.gateway.profile import Profile
from engine.gateway.wire import Credentials, KeywordAnswer, PreparedMessage
from engine.model import Balance, Outcome, OutcomeKind

SPARE_CONNECTIONS = 4  # beside the sends in flight: balance, keywords, reports, replies
CONNECTING_ERRORS = (
    aiohttp.ClientConnectorError,  # refused, unreachable, DNS, TLS, certificate: all are its children
    aiohttp.ConnectionTimeoutError,  # connecting, or waiting for a free connection, took too long
    aiohttp.ServerFingerprintMismatch,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
# What aiohttp raises for trouble with the other side. TimeoutError is an OSError, InvalidURL a ValueError.
EXCHANGE_ERRORS = (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError, ValueError)

MIDDLEBOX_S = 5.0  # boxes on the way that lose their patience with a silent connection take longer than this
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: closing sends a reset and drops what is unsent
_NO_CEILING = 1e9  # aiohttp rounds timeouts above this many seconds up to whole ones; ours are exact


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


class HttpGateway:
    """One account's gateway. An async context manager; one instance belongs to one event loop and one run.

    Raises SettingsError when `url` is no http or https address.
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
    ) -> None:
        self.profile = profile
        self._url = _base_url(url)
        self._credentials = credentials
        self._timeouts = timeouts
        self._in_flight = in_flight
        self._clock = clock
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None
        self._answered: set[str] = set()  # the paths at which the application has answered in this run
        self._users: dict[int, _Attempt] = {}  # the last attempt on each connection, by file descriptor

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=self._in_flight + SPARE_CONNECTIONS,
            keepalive_timeout=self._timeouts.keepalive_s,
            socket_factory=self._socket,
        )
        self._session = await self._stack.enter_async_context(
            aiohttp.ClientSession(
                connector=connector,
                request_class=_Request,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                headers={"Content-Type": wire.CONTENT_TYPE, "User-Agent": "xinshi"},
                timeout=aiohttp.ClientTimeout(total=None, connect=self._timeouts.connect_s, ceil_threshold=_NO_CEILING),
            )
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session = None
        await self._stack.aclose()

    def prepare(self, content: str) -> PreparedMessage:
        """One text, encoded for this account and profile. Raises PlanError, SettingsError."""
        return wire.prepare(self.profile, self._credentials, content)

    async def send(self, prepared: PreparedMessage, mobiles: str, *, batch_size: int) -> Outcome:
        """Hand over one batch, once. Trouble of any kind is an Outcome; only CancelledError is raised, and means in doubt."""
        path = self.profile.paths.send
        attempt = self._attempt()
        exchange = await self._post(attempt, path, prepared.body(mobiles, now=self._clock()))
        outcome = outcomes.outcome_of(
            exchange, self.profile, answered_before=path in self._answered, batch_size=batch_size
        )
        self._remember(path, exchange)
        attempt.judge(sound=outcome.kind is not OutcomeKind.IN_DOUBT)
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
        """A call whose answer must be complete and come with HTTP 200."""
        attempt = self._attempt()
        exchange = _come(await self._post(attempt, path, body))
        attempt.judge(sound=exchange.complete and exchange.status == 200)
        if not exchange.complete:
            raise NoAnswer("the answer was cut off", raw=_raw(exchange), http_status=exchange.status)
        self._remember(path, exchange)
        if exchange.status != 200:
            raise _bad_status(exchange)
        return exchange

    async def _poll(self, path: str, body: bytes) -> RawReply:
        """A call whose answer exists only once: whatever may hold a record is handed on, cut or not."""
        attempt = self._attempt()
        exchange = _come(await self._post(attempt, path, body))
        attempt.judge(sound=exchange.complete and exchange.status == 200)
        if not exchange.complete and not exchange.body:
            raise NoAnswer("the answer was cut off before its first byte", http_status=exchange.status)
        if exchange.status != 200 and not outcomes.application_spoke(exchange.body):
            raise _bad_status(exchange)
        return RawReply(
            body=exchange.body,
            charset=exchange.charset,
            at=exchange.at,
            http_status=exchange.status,
            complete=exchange.complete,
        )

    def _attempt(self) -> _Attempt:
        return _Attempt(users=self._users, answer_s=self._timeouts.answer_s)

    def _remember(self, path: str, exchange: Exchange | TransportFailure) -> None:
        if isinstance(exchange, Exchange) and outcomes.application_spoke(exchange.body):
            self._answered.add(path)

    async def _post(self, attempt: _Attempt, path: str, body: bytes) -> Exchange | TransportFailure:
        """One POST. Raises nothing but CancelledError, which leaves the connection aborted."""
        if self._session is None:
            raise RuntimeError("the gateway is not open")
        try:
            async with asyncio.timeout(None) as attempt.limit:
                response = await self._session.post(
                    self._url + path, data=body, allow_redirects=False, middlewares=(attempt,)
                )
                await attempt.read(response)
        except asyncio.CancelledError:
            attempt.give_up()
            raise
        except EXCHANGE_ERRORS as exc:
            attempt.give_up()
            if attempt.response is None:
                return _failure(exc, attempt.written_for_s, self._timeouts)
        passing("answer read")
        return attempt.exchange(self._clock())

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
    """A kept connection is closed, or its last answer was no good, and we saw it before the first byte."""


class _Request(aiohttp.ClientRequest):
    """A request that tells its attempt when it begins to write. `send` is called once the connection stands."""

    attempt: _Attempt | None = None

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        if self.attempt is not None:
            if self.attempt.unjudged_user(conn) is not None:
                # aiohttp gives a connection back in the callback that reads an answer's last byte, before the task that
                # waits for the answer has looked at it. That task is next in line: give it its turn.
                await asyncio.sleep(0)
            self.attempt.begin(conn)
        passing("request about to be written")
        response = await super().send(conn)
        passing("request written")
        return response


@dataclass(slots=True, kw_only=True, eq=False)
class _Attempt:
    """What is known about one request while it runs. It is its own aiohttp middleware, which is how the request finds it."""

    users: dict[int, _Attempt]
    answer_s: float
    limit: asyncio.Timeout | None = None
    began_s: float | None = None  # on the loop's clock; from then on bytes may have left
    transport: asyncio.Transport | None = None
    descriptor: int = -1
    response: aiohttp.ClientResponse | None = None  # the status line has come
    chunks: list[bytes] = field(default_factory=list)
    complete: bool = False
    judged: bool = False  # its connection may serve others, or is gone

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        assert isinstance(request, _Request)
        request.attempt = self
        return await handler(request)

    @property
    def written_for_s(self) -> float | None:
        """Seconds since the writing began; None: nothing has left."""
        return None if self.began_s is None else asyncio.get_running_loop().time() - self.began_s

    def unjudged_user(self, conn: Connection) -> _Attempt | None:
        """The attempt whose answer on this connection nobody has judged yet."""
        transport = conn.transport
        sock = None if transport is None else transport.get_extra_info("socket")
        user = None if sock is None else self.users.get(sock.fileno())
        return user if user is not None and user.transport is transport and not user.judged else None

    def begin(self, conn: Connection) -> None:
        """The connection stands and nothing is written yet. Raises when it must not be written to."""
        transport = conn.transport
        if transport is None or transport.is_closing() or self.unjudged_user(conn) is not None:
            raise _NotUsableError
        sock = transport.get_extra_info("socket")
        if not _established(sock):
            raise _NotUsableError
        self.transport, self.descriptor = transport, sock.fileno()
        self.users[self.descriptor] = self
        assert self.limit is not None
        self.began_s = asyncio.get_running_loop().time()
        self.limit.reschedule(self.began_s + self.answer_s)

    async def read(self, response: aiohttp.ClientResponse) -> None:
        """Read the body to its end, or to the limit of size, where the connection is given up."""
        self.response = response
        size = 0
        while chunk := await self._next_chunk(response):
            self.chunks.append(chunk[: MAX_ANSWER_BYTES - size])
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                self.give_up()
                return
        self.complete = True

    @staticmethod
    async def _next_chunk(response: aiohttp.ClientResponse) -> bytes:
        try:
            return await response.content.readany()
        except RuntimeError as exc:  # aiohttp's way of saying that the connection is gone
            raise aiohttp.ClientPayloadError from exc

    def exchange(self, at: datetime) -> Exchange:
        """What came. Only after `read` was called."""
        assert self.response is not None
        headers = self.response.headers
        return Exchange(
            status=self.response.status,
            body=b"".join(self.chunks),
            complete=self.complete,
            at=at.astimezone(UTC),
            charset=self.response.charset,
            retry_after=headers.get("Retry-After"),
            location=headers.get("Location"),
        )

    def judge(self, *, sound: bool) -> None:
        """Say whether the exchange went well. If not, reset its connection.

        Then nothing of ours is delivered later, and no late answer is read as that to another request.
        """
        self.judged = True
        transport = self.transport
        if sound or transport is None or self.users.get(self.descriptor) is not self:
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.fileno() == self.descriptor:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()

    def give_up(self) -> None:
        """End an exchange that did not come to its end; what has been read of it is kept."""
        self.judge(sound=False)
        if self.response is not None:
            self.response.close()


def _established(sock: socket.socket) -> bool:
    """Whether the kernel still calls the connection established: a FIN or RST may have come that the loop has not read."""
    if not hasattr(socket, "TCP_INFO"):
        return True
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1  # TCP_ESTABLISHED


def _failure(exc: Exception, written_for_s: float | None, timeouts: Timeouts) -> TransportFailure:
    """What an error means for the batch, in words that hold no address. `written_for_s`: since we began to write, None: not yet.

    Both must say "no": we did not get to the writing, and the error is one that arises before it.
    """
    sure = written_for_s is None and isinstance(exc, (*CONNECTING_ERRORS, _NotUsableError))
    by_the_other = isinstance(exc, aiohttp.ServerDisconnectedError) or getattr(exc, "errno", None) == errno.ECONNRESET
    ended_there = by_the_other and written_for_s is not None and written_for_s < MIDDLEBOX_S
    return TransportFailure(sent="no" if sure else "maybe", problem=_in_words(exc, timeouts), ended_there=ended_there)


def _in_words(exc: Exception, timeouts: Timeouts) -> str:
    match exc:
        case _NotUsableError():
            return "not sent: the kept connection was closed"
        case aiohttp.ConnectionTimeoutError():
            return f"not sent: no connection within {timeouts.connect_s:g} s"
        case aiohttp.ClientConnectorDNSError():
            return "not sent: the gateway's name cannot be resolved"
        case aiohttp.ClientConnectorCertificateError():
            return "not sent: the gateway's certificate is not trusted"
        case aiohttp.ClientSSLError():
            return "not sent: no TLS connection with the gateway"
        case aiohttp.ClientConnectorError():
            return f"not sent: no connection: {_error_name(exc.os_error)}"
        case aiohttp.ServerFingerprintMismatch():
            return "not sent: the gateway's certificate is another one"
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return "not sent: the gateway's address cannot be used"
        case TimeoutError():
            return f"no answer within {timeouts.answer_s:g} s"
        case aiohttp.ServerDisconnectedError():
            return "the gateway closed the connection without an answer"
        case aiohttp.ClientResponseError():
            return "the answer is no HTTP"
        case OSError():
            return f"the connection broke: {_error_name(exc)}"
        case _:
            return f"the connection broke: {type(exc).__name__}"


def _error_name(exc: OSError) -> str:
    """The system's words. Not the exception's: asyncio writes the address into them."""
    return os.strerror(exc.errno) if exc.errno else type(exc).__name__


def _come(exchange: Exchange | TransportFailure) -> Exchange:
    """The exchange, or the error of a call that has no outcome of its own."""
    if isinstance(exchange, Exchange):
        return exchange
    raise NotSent(exchange.problem) if exchange.sent == "no" else NoAnswer(exchange.problem)


def _bad_status(exchange: Exchange) -> BadAnswer:
    return BadAnswer(f"HTTP {exchange.status}", raw=_raw(exchange), http_status=exchange.status)


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
        raise SettingsError("account.url: must be an http or https address, without name, password or query")
    return url.strip().rstrip("/")
