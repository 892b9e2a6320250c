"""The constant server from outside: start it, ask what arrived, end it."""

from __future__ import annotations

import json
import subprocess
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Server:
    """The constant server and what it has counted."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def url(self) -> str:
        """Where a script posts to."""
        return f"http://127.0.0.1:{self.port}/sms.aspx"

    def count(self) -> dict[str, float]:
        """requests, numbers, held_s, cpu_s since it started."""
        counted: dict[str, float] = json.loads(self._get("/_count"))
        return counted

    def arrivals(self, since: int = 0) -> array[float]:
        """When each send after the first `since` arrived, in seconds of time.monotonic()."""
        times = array("d")
        times.frombytes(self._get(f"/_arrivals?since={since}"))
        return times

    def repeats(self) -> bytes:
        """One byte a send: 1 when it carried a number that was taken before. Only of a server that remembers."""
        return self._get("/_repeats")

    def last(self) -> bytes:
        """The body of the last send."""
        return self._get("/_last")

    def _get(self, path: str) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()


@contextmanager
def constant_server(*, delay_ms: float = 0.0, remember: bool = False, reports: bool = False) -> Iterator[Server]:
    """Run one in a process of its own; it ends with the block."""
    command = [sys.executable, "-m", "benchmarks.constant_server", f"--delay-ms={delay_ms}"]
    command += ["--remember"] * remember + ["--reports"] * reports
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stdout
        yield Server(json.loads(process.stdout.readline())["port"])
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, then make it."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
