"""A gateway that costs next to nothing and always takes everything, so that what is measured is the sender.

`python -m benchmarks.constant_server` prints {"port": …, "pid": …} and serves loopback until SIGTERM. It knows just
enough HTTP: requests with a Content-Length, kept-alive and pipelined. Beside the gateway's calls:

    GET /_count              what it took so far, as JSON
    GET /_arrivals?since=N   when the sends after the first N arrived: doubles in seconds of CLOCK_MONOTONIC
    GET /_repeats            of each send, one byte: 1 when it carried a number that was taken before (--remember)
    GET /_last               the body of the last send
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

_OPENING_POINTS = 1_000_000_000
_REPORTS_AT_ONCE = 1_000

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
_REPORT = (
    "<statusbox>\r\n<mobile>{mobile}</mobile>\r\n<taskid>{task_id}</taskid>\r\n<status>10</status>\r\n"
    "<receivetime>2026-03-01 10:00:00</receivetime>\r\n<errorcode>DELIVRD</errorcode>\r\n<extno></extno>\r\n"
    "</statusbox>\r\n"
)
_ANSWER = '<?xml version="1.0" encoding="utf-8" ?><returnsms>{}</returnsms>'


class Books:
    """What was taken since the start. `remember`: every number too. `reports`: delivery reports wait at once."""

    def __init__(self, *, remember: bool, reports: bool) -> None:
        self.requests = self.numbers = 0
        self.last = b""
        self.arrivals = array("d")
        self.held_s = 0.0  # from arrivals to answers, summed
        self.repeats = bytearray()
        self._remember, self._reports = remember, reports
        self._taken: set[bytes] = set()
        self._unreported: list[tuple[int, list[bytes]]] = []
        self._told = self._told_numbers = 0

    def send(self, body: bytes, at: float) -> str:
        mobiles = _mobiles(body)
        count = _count(mobiles)
        self.requests += 1
        self.numbers += count
        self.last = body
        self.arrivals.append(at)
        if self._remember or self._reports:
            numbers = mobiles.replace(b"%2C", b",").replace(b"%2c", b",").split(b",")
            if self._remember:
                self.repeats.append(not self._taken.isdisjoint(numbers))
                self._taken.update(numbers)
            if self._reports:
                self._unreported.append((self.task_id, numbers))
        return _SENT.format(remaining=self.remaining, task_id=self.task_id, count=count)

    @property
    def task_id(self) -> int:
        return 10_000_000 + self.requests

    @property
    def remaining(self) -> int:
        return _OPENING_POINTS - self.numbers

    def reports(self, most: int) -> str:
        """Up to `most` delivery reports that were not told yet, in the order of acceptance."""
        boxes: list[str] = []
        while len(boxes) < most and self._told < len(self._unreported):
            task_id, numbers = self._unreported[self._told]
            some = numbers[self._told_numbers : self._told_numbers + most - len(boxes)]
            boxes += [_REPORT.format(mobile=mobile.decode(), task_id=task_id) for mobile in some]
            self._told_numbers += len(some)
            if self._told_numbers == len(numbers):
                self._told, self._told_numbers = self._told + 1, 0
        return _ANSWER.format("".join(boxes))

    def as_json(self) -> str:
        counted = {"requests": self.requests, "numbers": self.numbers, "held_s": self.held_s}
        return json.dumps({**counted, "cpu_s": time.process_time()})


class ConstantGateway(asyncio.Protocol):
    """One connection. Every answer to a send waits `delay_s`."""

    def __init__(self, books: Books, delay_s: float) -> None:
        self._books, self._delay_s = books, delay_s
        self._buffer = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        at = time.monotonic()
        buffer = self._buffer + data if self._buffer else data
        answers, sends = [], 0
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            whole = end + 4 + _content_length(buffer[:end])
            if len(buffer) < whole:
                break
            body = buffer[end + 4 : whole]
            sends += b"action=send" in body
            answers.append(self._answer(buffer[:end], body, at))
            buffer = buffer[whole:]
        self._buffer = buffer
        if not answers:
            return
        if sends and self._delay_s:
            self._loop.call_later(self._delay_s, self._write_late, b"".join(answers), at, sends)
        else:
            self._transport.write(b"".join(answers))

    def _write_late(self, answers: bytes, at: float, sends: int) -> None:
        self._books.held_s += (time.monotonic() - at) * sends
        self._transport.write(answers)

    def _answer(self, head: bytes, body: bytes, at: float) -> bytes:
        path = head.split(b" ", 2)[1]
        books = self._books
        if b"action=send" in body:
            return _response(books.send(body, at).encode())
        if b"action=overage" in body:
            return _response(_OVERAGE.format(remaining=books.remaining).encode())
        if path.startswith(b"/status"):
            return _response(books.reports(_asked_for(body)).encode())
        match path.partition(b"?"):
            case b"/_count", _, _:
                return _response(books.as_json().encode())
            case b"/_arrivals", _, query:
                return _response(books.arrivals[int(query.partition(b"=")[2] or 0) :].tobytes())
            case b"/_repeats", _, _:
                return _response(bytes(books.repeats))
            case b"/_last", _, _:
                return _response(books.last)
            case _:
                return _response(_ANSWER.format("").encode())


def _mobiles(body: bytes) -> bytes:
    start = 0 if body.startswith(b"mobile=") else body.find(b"&mobile=") + 1
    if not start and not body.startswith(b"mobile="):
        return b""
    end = body.find(b"&", start)
    return body[start + len(b"mobile=") : end if end >= 0 else len(body)]


def _count(mobiles: bytes) -> int:
    """Count numbers by their commas, plain or percent-encoded, without decoding them."""
    return mobiles.count(b"%2C") + mobiles.count(b"%2c") + mobiles.count(b",") + 1 if mobiles else 0


def _asked_for(body: bytes) -> int:
    start = body.find(b"statusNum=")
    return int(body[start + 10 :].split(b"&")[0] or _REPORTS_AT_ONCE) if start >= 0 else _REPORTS_AT_ONCE


def _content_length(head: bytes) -> int:
    name = b"\r\ncontent-length:"
    found = head.find(b"\r\nContent-Length:")
    if found < 0:
        found = head.lower().find(name)
    if found < 0:
        return 0
    end = head.find(b"\r\n", found + 2)
    return int(head[found + len(name) : end if end >= 0 else len(head)])


def _response(body: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: %d\r\n\r\n" % len(body)
    ) + body


async def serve(*, delay_s: float, remember: bool, reports: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    books = Books(remember=remember, reports=reports)
    server = await loop.create_server(lambda: ConstantGateway(books, delay_s), "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1], "pid": os.getpid()}), flush=True)
    await stop.wait()
    server.close()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.constant_server")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="how long every answer to a send waits")
    parser.add_argument("--remember", action="store_true", help="keep every number, for /_repeats")
    parser.add_argument("--reports", action="store_true", help="a delivery report of every number, at once")
    given = parser.parse_args(arguments)
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(delay_s=given.delay_ms / 1000, remember=given.remember, reports=given.reports))


if __name__ == "__main__":
    main()
