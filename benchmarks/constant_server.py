"""A gateway that costs next to nothing and always takes everything, so that what is measured is the sender.

`python -m benchmarks.constant_server` prints {"port": …, "pid": …} and serves loopback until SIGTERM. It knows just
enough HTTP: requests with a Content-Length, kept-alive and pipelined. GET /_count tells what it took.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import cast

_OPENING_POINTS = 1_000_000_000

_SENT = (
    '<?xml version="1.0" encoding="utf-8" ?><returnsms>\r\n <returnstatus>Success</returnstatus>\r\n'
    " <message>ok</message>\r\n <remainpoint>{remaining}</remainpoint>\r\n <taskID>{task_id}</taskID>\r\n"
    " <successCounts>{count}</successCounts></returnsms>"
)
_OVERAGE = (
    '<?xml version="1.0" encoding="utf-8" ?><returnsms>\r\n <returnstatus>Sucess</returnstatus>\r\n'
    " <message></message>\r\n <payinfo>预付费</payinfo>\r\n <overage>{remaining}</overage>\r\n"
    f" <sendTotal>{_OPENING_POINTS}</sendTotal></returnsms>"
)
_NOTHING_TO_READ = '<?xml version="1.0" encoding="utf-8" ?><returnsms></returnsms>'


@dataclass(slots=True)
class Counter:
    """What was taken since the start: requests that send, and numbers in them."""

    requests: int = 0
    numbers: int = 0

    def send(self, count: int) -> str:
        self.requests += 1
        self.numbers += count
        return _SENT.format(remaining=self.remaining, task_id=10_000_000 + self.requests, count=count)

    @property
    def remaining(self) -> int:
        return _OPENING_POINTS - self.numbers

    def as_json(self) -> str:
        return json.dumps({"requests": self.requests, "numbers": self.numbers, "cpu_s": time.process_time()})


class ConstantGateway(asyncio.Protocol):
    """One connection."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        answers = []
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            whole = end + 4 + _content_length(buffer[:end])
            if len(buffer) < whole:
                break
            answers.append(self._answer(buffer[:end], buffer[end + 4 : whole]))
            buffer = buffer[whole:]
        self._buffer = buffer
        if answers:
            self._transport.write(b"".join(answers))

    def _answer(self, head: bytes, body: bytes) -> bytes:
        path = head.split(b" ", 2)[1]
        if path == b"/_count":
            return _response(self._counter.as_json(), "application/json")
        if b"action=send" in body:
            return _response(self._counter.send(count_numbers(body)))
        if b"action=overage" in body:
            return _response(_OVERAGE.format(remaining=self._counter.remaining))
        return _response(_NOTHING_TO_READ)


def count_numbers(body: bytes) -> int:
    """Count the numbers of a form body by its commas, plain or percent-encoded, without decoding it."""
    start = 0 if body.startswith(b"mobile=") else body.find(b"&mobile=") + 1
    if not start and not body.startswith(b"mobile="):
        return 0
    end = body.find(b"&", start)
    field = body[start + len(b"mobile=") : end if end >= 0 else len(body)]
    return field.count(b"%2C") + field.count(b"%2c") + field.count(b",") + 1 if field else 0


def _content_length(head: bytes) -> int:
    name = b"\r\ncontent-length:"
    found = head.find(b"\r\nContent-Length:")
    if found < 0:
        found = head.lower().find(name)
    if found < 0:
        return 0
    end = head.find(b"\r\n", found + 2)
    return int(head[found + len(name) : end if end >= 0 else len(head)])


def _response(text: str, content_type: str = "text/xml; charset=utf-8") -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve() -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    counter = Counter()
    server = await loop.create_server(lambda: ConstantGateway(counter), "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1], "pid": os.getpid()}), flush=True)
    await stop.wait()
    server.close()


def main() -> None:
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:
        factory = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve())


if __name__ == "__main__":
    sys.exit(main())
