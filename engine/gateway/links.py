"""Connections to the gateway that stand, each for one request after another. With http.py the gateway's door to aiohttp.

aiohttp makes a connection (names, TLS, proxies) and its parser reads what comes on it. In between its own client does more for
a request than the kernel, the parser and we together; and what matters here it does not tell: whether a byte may have left.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from collections import deque
from typing import Any, Self

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import HttpResponseParser, RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

from engine.crashing import passing
from engine.gateway.decoding import MAX_ANSWER_BYTES
from engine.gateway.route import Route

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

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: closing sends a reset and drops what is unsent
_LAST_BYE_S = 1.0  # a gateway that does not answer the end of a TLS connection is not waited for longer
NO_CEILING = 1e9  # aiohttp rounds timeouts above this many seconds up to whole ones; ours are exact
UNLIMITED = aiohttp.ClientTimeout(total=None, ceil_threshold=NO_CEILING)


class NotUsableError(aiohttp.ClientConnectionError):
    """A kept connection is closed, or something came on it that nobody asked for, and we saw it before the first byte."""


class NoTunnelError(aiohttp.ClientConnectionError):
    """The proxy did not make a way to the gateway; nothing but the question for one was written."""


class Answer:
    """What has come of one answer. `complete`: HTTP's own framing was fulfilled, and it was not too long."""

    __slots__ = ("chunks", "complete", "message", "size")

    def __init__(self) -> None:
        self.message: RawResponseMessage | None = None  # the status line has come
        self.chunks: list[bytes] = []
        self.size = 0
        self.complete = False


class Link(asyncio.Protocol):
    """One connection, with one request on it at a time. Whoever has one puts it back or drops it."""

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        """Raises NotUsableError when the connection is gone already."""
        handler, transport = connection.protocol, connection.transport
        if handler is None or transport is None or transport.is_closing() or handler.should_close:
            connection.close()
            raise NotUsableError
        self._connection, self._handler, self._transport, self._loop = connection, handler, transport, loop
        self._socket: socket.socket = transport.get_extra_info("socket")  # a loop makes it anew each time
        self._other_side = _watched(self._socket.fileno())
        self.is_closed = False
        self.kept_s = 0.0  # since when it is kept, on the loop's clock
        self._is_spoiled = False  # something came that nobody asked for, or it is to be closed
        self._parser: HttpResponseParser | None = None
        self._answer: Answer | None = None  # of the request that is under way
        self._content: StreamReader | None = None
        self._trouble: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        transport.set_protocol(self)

    # -- one request ---------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise NotUsableError when it must not be written to: a FIN or RST may have come that the loop has not read."""
        if self._is_spoiled or self.is_closed or self._transport.is_closing() or self._other_side.poll(0):
            raise NotUsableError

    async def ask(self, request: bytes, answer: Answer, *, until_s: float) -> None:
        """Hand the request to the kernel and read its answer, until then on the loop's clock. Raises EXCHANGE_ERRORS.

        What fails before is not sent; from here on it is in doubt.
        """
        # A new parser for each: what may be left of an earlier answer is never read as one to this request.
        self._parser = HttpResponseParser(
            self,  # type: ignore[arg-type]  # of which it wants what is said below
            self._loop,
            MAX_ANSWER_BYTES // 2,
            payload_exception=aiohttp.ClientPayloadError,
            read_until_eof=True,
        )
        self._answer = answer
        self._waiter = self._loop.create_future()
        timer = self._loop.call_at(until_s, self._end, TimeoutError())
        try:
            passing("request about to be written")
            self._transport.write(request)
            passing("request written")
            await self._waiter
        finally:
            timer.cancel()
            self._answer = self._parser = self._content = self._waiter = None
        if self._trouble is not None:
            raise self._trouble

    @property
    def may_be_kept(self) -> bool:
        """Whether another request may follow on it, as far as it knows."""
        return not (self._is_spoiled or self.is_closed or self._trouble is not None)

    def _end(self, trouble: Exception | None = None) -> None:
        """Nothing more is read of the answer. The first word counts."""
        self._answer = None
        if self._waiter is not None and not self._waiter.done():
            self._trouble = trouble
            self._waiter.set_result(None)

    # -- what the loop says --------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        answer, parser = self._answer, self._parser
        if answer is None or parser is None:
            self._is_spoiled = True
            return
        try:
            messages, _, _ = parser.feed_data(data)
            for message, content in messages:
                if self._content is not None:
                    self._is_spoiled = True  # a second answer
                elif message.code >= 200 or message.code == 101:
                    answer.message, self._content = message, content
                    self._is_spoiled = message.should_close or message.upgrade
            self._take_in(answer)
        except Exception as exc:  # noqa: BLE001  whatever the parser finds wrong with it
            self._end(_as_trouble(exc))

    def _take_in(self, answer: Answer) -> None:
        """Keep what has come of the body, up to the limit of size."""
        content = self._content
        if content is None:
            return
        if chunk := content.read_nowait():
            answer.chunks.append(chunk[: MAX_ANSWER_BYTES - answer.size])
            answer.size += len(chunk)
        if answer.size > MAX_ANSWER_BYTES:
            self._end()
        elif content.is_eof():
            answer.complete = True
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        self._handler.connection_lost(exc)
        answer, parser = self._answer, self._parser
        if answer is None or parser is None:
            return
        trouble: Exception | None = exc
        if exc is None:
            try:
                parser.feed_eof()  # an answer without a length ends here, any other is cut
                self._take_in(answer)
            except Exception as cut:  # noqa: BLE001  as above
                trouble = _as_trouble(cut)
        self._end(trouble or aiohttp.ServerDisconnectedError())

    # -- what aiohttp's parser says ------------------------------------------------------------------------------------

    _reading_paused = False

    def pause_reading(self) -> None:
        """More has come than an answer may hold: no more is unpacked."""
        if self._parser is not None:
            self._parser.pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Nothing was paused that goes on."""

    # -- its end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close it in good order; `ended` says when it is."""
        self._connection.close()

    def reset(self) -> None:
        """End it with a reset: nothing of ours is delivered later, and no late answer is read as that to another request."""
        if not self.is_closed and self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()
        self._connection.close()

    @property
    def ended(self) -> asyncio.Future[None] | None:
        """Done when the connection is gone; None: it is."""
        return self._handler.closed


class Links:
    """The connections to one gateway, at most `most` at once: kept ones, or new ones. Longest kept, first used."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, route: Route, *, most: int, connect_s: float, keepalive_s: float
    ) -> None:
        """`connect_s`: how long a free connection, name, TCP and TLS may take together; `keepalive_s`: how old one may get idle."""
        assert session.connector is not None
        self._connector, self._loop = session.connector, asyncio.get_running_loop()
        address = URL(url)
        self._tunnels = bool(route.proxy) and address.scheme == "https"
        self._request = aiohttp.ClientRequest(
            "POST",
            address,
            headers=session.headers,
            loop=self._loop,
            session=session,
            **proxied(route, address.host_port_subcomponent or ""),
        )
        self._places = asyncio.Semaphore(most)
        self.taken = 0  # by requests that are under way
        self._connect_s, self._keepalive_s = connect_s, keepalive_s
        self._kept: deque[Link] = deque()

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What aiohttp says in every request, but for the length."""
        return [(name, value) for name, value in self._request.headers.items() if name.lower() != "content-length"]

    async def take(self) -> Link:
        """A connection that stands. Raises CONNECTING_ERRORS, NoTunnelError, OSError, which a TimeoutError is."""
        if not self._places.locked():
            await self._places.acquire()  # at once
            if (link := self._longest_kept()) is not None:
                self.taken += 1
                return link
            self._places.release()
        async with asyncio.timeout(self._connect_s):
            await self._places.acquire()
            try:
                link = self._longest_kept() or await self._made()
            except BaseException:  # the place is given back, then it is raised on
                self._places.release()
                raise
            self.taken += 1
            return link

    def put_back(self, link: Link) -> None:
        """Its answer is read and judged; the next request may have it."""
        if link.may_be_kept:
            link.kept_s = self._loop.time()
            self._kept.append(link)
        else:
            link.close()
        self._free()

    def drop(self, link: Link) -> None:
        """Its exchange went wrong; nobody may use it again."""
        link.reset()
        self._free()

    def give_up(self, link: Link) -> None:
        """Nothing was written to it this time, and nothing may be."""
        link.close()
        self._free()

    def _free(self) -> None:
        self.taken -= 1
        self._places.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        ends = [end for link in self._kept if (end := link.ended) is not None]
        while self._kept:
            self._kept.popleft().close()
        if ends:
            await asyncio.wait(ends, timeout=_LAST_BYE_S)

    def _longest_kept(self) -> Link | None:
        while self._kept:
            link = self._kept.popleft()
            if not link.is_closed and self._loop.time() - link.kept_s <= self._keepalive_s:
                return link
            link.close()
        return None

    async def _made(self) -> Link:
        try:
            connection = await self._connector.connect(self._request, traces=[], timeout=UNLIMITED)
        except EXCHANGE_ERRORS as exc:
            if not self._tunnels or isinstance(exc, CONNECTING_ERRORS):
                raise
            raise NoTunnelError from exc  # cut, or no HTTP, while the proxy was being asked for a way
        return Link(connection, self._loop)


def proxied(route: Route, host: str) -> dict[str, Any]:
    """What aiohttp must know of a proxy. It asks it for a way (CONNECT) to `host` where the gateway speaks https."""
    if not route.proxy:
        return {}
    return {"proxy": URL(route.proxy), "proxy_headers": {**proxy_login(route), "Host": host}}


def proxy_login(route: Route) -> dict[str, str]:
    """What a proxy that wants a login is shown."""
    return {"Proxy-Authorization": route.proxy_login} if route.proxy_login else {}


def _watched(descriptor: int) -> select.poll:
    """Tells, when it is asked, whether the other side has closed or reset its end. Whatever else came is not its business."""
    watched = select.poll()
    watched.register(descriptor, getattr(select, "POLLRDHUP", 0))  # an end in error is told unasked
    return watched


def _as_trouble(exc: Exception) -> Exception:
    return exc if isinstance(exc, EXCHANGE_ERRORS) else aiohttp.ClientPayloadError(type(exc).__name__)
