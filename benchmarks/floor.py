"""What cannot be had for less: decode the list, post the same bodies, write the same bytes in one transaction."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from benchmarks.measure import MeasureError, run_measured
from benchmarks.rounds import Run
from benchmarks.server import ROOT, Server, end
from benchmarks.tools import SCRIPTS, bare_environ

_CONNECTIONS = 16
_LIMIT_S = 120


def client() -> str:
    """Which program posts: wrk, or what stands in for it."""
    return "wrk" if shutil.which("wrk") else "a socket and one thread in Python, pipelined (no wrk here)"


def write_bodies(source: Path, target: Path, text: str, size: int, folder: Path) -> None:
    """Make the bodies of the whole list, beforehand. Raises MeasureError."""
    command = [sys.executable, "-m", "benchmarks.bodies", str(source), str(target), text, str(size)]
    environ = bare_environ(folder) | {"PYTHONPATH": str(ROOT)}
    run_measured(command, environ=environ, folder=folder, limit_s=600)


def run_floor(source: Path, bodies: Path, server: Server, folder: Path, *, recipients: int) -> Run:
    """The three parts, one after the other. `post_s` is from the first arrival to the last, at the server's clock."""
    before = server.count()
    with bodies.open("rb") as lines:
        requests = sum(1 for _ in lines)
    _post(bodies, server, folder, requests=int(before["requests"]) + requests)
    after = server.count()
    if after["numbers"] - before["numbers"] != recipients:
        raise MeasureError(f"{recipients:,} recipients, {after['numbers'] - before['numbers']:,.0f} arrived")
    times = server.arrivals(int(before["requests"]))
    command = [sys.executable, "-m", "benchmarks.floor", str(source), str(bodies), str(folder / "floor.db")]
    environ = bare_environ(folder) | {"PYTHONPATH": str(ROOT)}
    cost = run_measured(command, environ=environ, folder=folder, limit_s=600)
    parts: Run = json.loads(cost.output)
    parts["post_s"] = times[-1] - times[0]
    return {**parts, "wall_s": sum(parts.values()), "requests": after["requests"] - before["requests"]}


def _post(bodies: Path, server: Server, folder: Path, *, requests: int) -> None:
    """Post until the server has `requests`. wrk itself knows no number of requests to stop at, only a time."""
    if not shutil.which("wrk"):
        _post_pipelined(bodies, server.port)
        return
    words = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{_LIMIT_S}s", "-s", str(SCRIPTS / "floor.lua"), server.url]
    environ = bare_environ(folder) | {"BODIES": str(bodies)}
    process = subprocess.Popen(words, env=environ, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while server.count()["requests"] < requests:
            if process.poll() is not None:
                raise MeasureError(f"wrk ended with {process.returncode} before everything was posted")
            time.sleep(0.05)
    finally:
        end(process)


def _post_pipelined(bodies: Path, port: int) -> None:
    """Everything down one connection, as fast as it takes it; a thread reads what comes back."""
    head = b"POST /sms.aspx HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s"
    requests = [head % (len(line), line) for line in bodies.read_bytes().splitlines()]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        reader = threading.Thread(target=_drain, args=(connection,))
        reader.start()
        for start in range(0, len(requests), 64):
            connection.sendall(b"".join(requests[start : start + 64]))
        connection.shutdown(socket.SHUT_WR)
        reader.join()


def _drain(connection: socket.socket) -> None:
    while connection.recv(1 << 20):
        pass


def main() -> None:
    """The two parts that are no network: prints their seconds as JSON."""
    source, bodies, target = map(Path, sys.argv[1:])
    begin = time.perf_counter()
    with source.open(encoding="gb18030", newline="") as file:
        while file.read(1 << 20):
            pass
    decoded = time.perf_counter()
    rows = [(line,) for line in bodies.read_bytes().splitlines()]
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(target, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE batch (id INTEGER PRIMARY KEY, body BLOB)")
        writing = time.perf_counter()
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO batch (body) VALUES (?)", rows)
        database.execute("COMMIT")
        written = time.perf_counter()
    print(json.dumps({"decode_s": decoded - begin, "write_s": written - writing}))


if __name__ == "__main__":
    main()
