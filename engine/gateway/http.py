"""The HTTP side of the gateway.

POST only, no redirects, no cookies, no transparent retry. What matters most here is to know whether a byte of a request may
have been written. So what may not be repeated (a send, a poll) goes over the connections of links.py: `Link.ask` is the one
place where bytes leave, so what fails before it was not sent, and what fails from there on is in doubt. What may be repeated
(the balance, a keyword check) goes through aiohttp's session. Source: gateway/protocol.md §13, §18.
"""

from __future__ import annotations

import asyncio
import email.message
import errno
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from engine.crashing import passing
from engine.errors import BadAnswer, NoAnswer, NotSent, SettingsError
from engine.gateway import outcomes, wire
from engine.gateway.decoding import MAX_ANSWER_BYTES, decoded, shown
from engine.gateway.links import (
    CONNECTING_ERRORS,
    EXCHANGE_ERRORS,
    NO_CEILING,
    UNLIMITED,
    Answer,
    Link,
    Links,
    NoTunnelError,
    NotUsableError,
    proxied,
    proxy_login,
)
from engine.gateway.outcomes import Exchange, TransportFailure, proxy_words
from engine.gateway.profile import Profile
from engine.gateway.route import Route
from engine.gateway.wire import Credentials, KeywordAnswer, PreparedMessage, SendForm
from engine.language import _
from engine.model import Balance, Outcome, OutcomeKind, PauseReason
from engine.terms import system_words

SPARE_CONNECTIONS = 4  # beside the sends in flight: balance, keywords, reports, replies
MIDDLEBOX_S = 5.0  # boxes on the way that lose their patience with a silent connection take longer than this
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
        self._links: Links | None = None
        self._heads: dict[str, bytes] = {}  # by path: every request's head, but for the length
        self._to_connect = aiohttp.ClientTimeout(total=None, connect=timeouts.connect_s, ceil_threshold=NO_CEILING)

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=0,  # the links are counted
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
                timeout=UNLIMITED,
            )
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session = self._links = None
        await self._stack.aclose()

    def prepare(self, content: str, *, scheduled_for: datetime | None = None) -> PreparedMessage:
        """One text, encoded for this account and profile; see `SendForm.prepare`. Raises PlanError, SettingsError."""
        if self._form is None:
            self._form = SendForm(self.profile, self._credentials)
        return self._form.prepare(content, scheduled_for=scheduled_for)

    async def send(self, prepared: PreparedMessage, mobiles: str, *, batch_size: int) -> Outcome:
        """Hand over one batch, once. Trouble of any kind is an Outcome; only CancelledError is raised, and means in doubt."""
        path = self.profile.paths.send
        attempt = _Attempt(self._open_links(), self._in_flight)
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
                    headers=_CLOSE | (proxy_login(self._route) if self._by_proxy else {}),
                    timeout=self._to_connect,
                    **proxied(self._route, self._host),
                ) as response:
                    connected = True
                    exchange = _made_exchange(
                        response.status, response.headers, await _body_of(response), self._clock()
                    )
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
        attempt = _Attempt(self._open_links(), self._in_flight)
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
        """One POST. Raises nothing but CancelledError, which leaves the connection reset."""
        head = self._heads.get(path) or self._made_head(path)
        try:
            await attempt.run(head % len(body) + body, answer_s=self._timeouts.answer_s)
        except asyncio.CancelledError:
            attempt.end(sound=False)
            raise
        except EXCHANGE_ERRORS as exc:
            attempt.end(sound=False)
            if attempt.answer.message is None:
                if isinstance(exc, TimeoutError) and attempt.began_s is None:
                    exc = aiohttp.ConnectionTimeoutError()
                return _failure(exc, attempt.written_for_s, self._timeouts, proxied=bool(self._route.proxy))
        passing("answer read")
        return _exchange(attempt.answer, self._clock())

    def _made_head(self, path: str) -> bytes:
        url = URL(self._url + path)
        lines = [f"{name}: {value}\r\n" for name, value in self._open_links().headers]
        target = url.raw_path
        if self._by_proxy:  # RFC 9112 §3.2.2: the proxy is told the whole address
            target = str(url)
            lines += [f"{name}: {value}\r\n" for name, value in proxy_login(self._route).items()]
        head = f"POST {target} HTTP/1.1\r\n{''.join(lines)}".replace("%", "%%")
        self._heads[path] = f"{head}Content-Length: %d\r\n\r\n".encode("ascii")
        return self._heads[path]

    def _open_links(self) -> Links:
        if self._links is None:
            self._links = Links(
                self._opened(),
                self._url,
                self._route,
                most=self._in_flight + SPARE_CONNECTIONS,
                connect_s=self._timeouts.connect_s,
                keepalive_s=self._timeouts.keepalive_s,
            )
            self._stack.push_async_exit(self._links)
        return self._links

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


class _Attempt:
    """One request, and what is known about it while it runs."""

    __slots__ = ("_crowd", "_link", "_links", "answer", "began_s")

    def __init__(self, links: Links, crowd: int) -> None:
        """`crowd`: so many may be under way at once."""
        self._links, self._crowd = links, crowd
        self._link: Link | None = None
        self.answer = Answer()
        self.began_s: float | None = None  # on the loop's clock; from then on bytes may have left

    @property
    def written_for_s(self) -> float | None:
        """Seconds since the writing began; None: nothing has left."""
        return None if self.began_s is None else asyncio.get_running_loop().time() - self.began_s

    async def run(self, request: bytes, *, answer_s: float) -> None:
        """Write it, and read the answer to its end. Raises EXCHANGE_ERRORS."""
        self._link = await self._links.take()
        if 2 * self._links.taken < self._crowd:
            # Those whose intents share a commit leave one right after the other: a send that wakes nobody takes a third of the
            # time. Where as many are under way as may be, answers are what is waited for, and no moment of a slot is lost.
            await asyncio.sleep(0)
        self._link.check()
        self.began_s = asyncio.get_running_loop().time()
        await self._link.ask(request, self.answer, until_s=self.began_s + answer_s)

    def end(self, *, sound: bool) -> None:
        """Put the connection back when the exchange went well."""
        link, self._link = self._link, None
        if link is None:
            return
        if self.began_s is None:
            self._links.give_up(link)
        elif sound and self.answer.complete:
            self._links.put_back(link)
        else:
            self._links.drop(link)


def _exchange(answer: Answer, at: datetime) -> Exchange:
    """What came; the status line did."""
    assert answer.message is not None
    body = answer.chunks[0] if len(answer.chunks) == 1 else b"".join(answer.chunks)
    return _made_exchange(answer.message.code, answer.message.headers, body, at, complete=answer.complete)


def _made_exchange(
    status: int, headers: Mapping[str, str], body: bytes, at: datetime, *, complete: bool = True
) -> Exchange:
    return Exchange(
        status=status,
        body=body,
        complete=complete,
        at=at.astimezone(UTC),
        charset=_charset(headers.get("Content-Type", "")),
        retry_after=headers.get("Retry-After"),
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


def _failure(
    exc: Exception, written_for_s: float | None, timeouts: Timeouts, *, proxied: bool = False
) -> TransportFailure:
    """What an error means for the batch, in words that hold no address. `written_for_s`: since we began to write, None: not yet.

    Both must say "no": we did not get to the writing, and the error is one that arises before it. What ends a talk through a
    proxy may be the proxy alone: then the gateway may still take what it was given.
    """
    sure = written_for_s is None and isinstance(exc, (*CONNECTING_ERRORS, NotUsableError, NoTunnelError))
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
        case NoTunnelError():
            return _("not sent: the proxy made no way to the gateway")
        case aiohttp.ClientProxyConnectionError():
            return _("not sent: no connection with the proxy: {problem}").format(problem=_error_name(exc.os_error))
        case NotUsableError():
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
