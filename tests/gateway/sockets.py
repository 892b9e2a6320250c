"""A server of a few lines that does to a connection whatever a test wants, over real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Server:
    """`requests` are the bodies read to their end, `connections` how many were opened, `endings` how they ended."""

    port: int
    requests: list[bytes] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    conversations: list[Conversation] = field(default_factory=list)
    endings: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    received: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)  # what a hanging answer waits for
    scheme: str = "http"
    peers: list[str] = field(default_factory=list)  # the addresses that connections came from

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


@dataclass
class Conversation:
    server: Server
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        body = await self.reader.readexactly(length)
        self.server.heads.append(head)
        self.server.requests.append(body)
        self.server.received.set()
        return body

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        sock = self.writer.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()

    def shut(self) -> None:
        """Send the FIN at once, without a turn of the loop, so that the other side's loop cannot have read it."""
        descriptor = self.writer.transport.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(descriptor)) as twin:
            twin.shutdown(socket.SHUT_RDWR)


Script = Callable[[Conversation], Awaitable[None]]


def http(body: bytes | str, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    size = len(data) if length is None else length
    head = [f"HTTP/1.1 {status}", "Content-Type: text/xml; charset=utf-8", f"Content-Length: {size}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + data


def answering(*answers: bytes) -> Script:
    """Give each request of a connection the next answer, the last one for ever."""

    async def script(conversation: Conversation) -> None:
        place = 0
        while True:
            await conversation.request()
            await conversation.write(answers[min(place, len(answers) - 1)])
            place += 1

    return script


@asynccontextmanager
async def serving(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server on loopback that plays `script` on every connection and notes how it ended: eof or reset."""
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        server.peers.append(writer.get_extra_info("peername")[0])
        conversation = Conversation(server, reader, writer)
        server.conversations.append(conversation)
        try:
            await script(conversation)
            while await reader.read(65536):
                pass
            server.endings.append("eof")
        except asyncio.IncompleteReadError:
            server.endings.append("eof")
        except ConnectionError:
            server.endings.append("reset")
        except asyncio.CancelledError:
            pass
        finally:
            server.ended.set()
            writer.close()

    listener = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=tls)
    server = Server(port=listener.sockets[0].getsockname()[1], scheme="http" if tls is None else "https")
    try:
        yield server
    finally:
        listener.close()
        server.release.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()
