"""Starts commands quickly: a process that has loaded the libraries forks, in place of loading them anew for every command.

What is started is a real process with its own environment, folder and streams. It can be killed like any other, and before
it ends everything runs that an interpreter runs at its end, but for taking down the loaded modules: copying their memory took
longer than most commands. What reads a command's list is forked too. `python -m engine` itself is started where loading or that
matters.
"""

from __future__ import annotations

import array
import asyncio
import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from tests.forking import Forking

ROOT = Path(__file__).parents[1]
_OURS = ("XINSHI_", "XDG_", "_XINSHI_", "PYTEST_", "TERM", "COLUMNS", "NO_COLOR")
"""Variables that nobody reads while a library is loaded, or that `_arm` reads once more."""
_LIBRARIES = (
    "aiohttp", "aiolimiter", "alembic.command", "alembic.migration", "cyclopts", "lxml.etree", "pydantic_settings", "pyroaring",
    "python_calamine", "rich.console", "rich.live", "rich.table", "sqlalchemy.dialects.sqlite", "tenacity", "uvloop", "cyclopts.help",
)  # fmt: skip


def _load() -> None:
    gc.disable()  # what is loaded stays, so looking through it time and again finds nothing
    import engine
    from tests.warm import warm

    for name in _LIBRARIES:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(engine.__path__, "engine."):
        if "__main__" not in module.name and ".migrations." not in module.name:
            importlib.import_module(module.name)
    gc.freeze()
    gc.enable()
    warm()
    # The parser lets pydantic look at every value too where that is loaded, which it is not yet when a command starts.
    del sys.modules["pydantic"]
    gc.collect()
    gc.freeze()
    assert threading.active_count() == 1, "a library has started a thread, which no fork would have"


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Start what is asked for until nobody asks any more. Returns a second time in each child, with its order."""
    from tests.warm import prepare

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # for a child, until it is a command
    waking, woken = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with control, waking, woken:
        for end in (waking, woken):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        running: dict[int, int] = {}  # process id -> where its end is told
        while True:
            ready, _, _ = select.select([control, waking], [], [])
            if waking in ready:
                waking.recv(4096)
                _tell_ends(running)
            if control in ready:
                order, fds = _receive(control)
                if not order:
                    return None
                asked = json.loads(order)
                prepare(asked["words"], asked["environ"])
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for at, fd in enumerate(fds[:3]):
                        os.dup2(fd, at)
                    for fd in (*fds, *running.values()):
                        os.close(fd)
                    return dict(asked)
                running[pid] = fds[3]
                os.write(fds[3], f"{pid}\n".encode())
                for fd in fds[:3]:
                    os.close(fd)


def _tell_ends(running: dict[int, int]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            told = running.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # the test has ended before
                os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os.close(told)


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """One order with its descriptors; b"" when the other side has closed."""
    descriptors = array.array("i")
    head, ancillary, _, _ = control.recvmsg(4, socket.CMSG_SPACE(4 * descriptors.itemsize))
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data)
    if len(head) < 4:
        return b"", []
    words, (size,) = b"", struct.unpack("!I", head)
    while len(words) < size:
        words += control.recv(size - len(words))
    return words, list(descriptors)


def _become(order: dict[str, Any]) -> None:
    """Turn this child into `python -m engine` as it would have been started."""
    os.environ.clear()
    os.environ.update(order["environ"])
    os.chdir(order["cwd"])
    sys.argv = [str(ROOT / "engine" / "__main__.py"), *order["words"]]
    _arm()
    random.seed()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding=sys.stderr.encoding, errors=sys.stderr.errors, closefd=False)


def _arm() -> None:
    """Do with the variables of tests what our modules do with them when they are loaded, which they were before."""
    from engine import clock, crashing

    subprocess.Popen = Forking  # type: ignore[misc]
    clock._OFF = timedelta(seconds=float(os.environ.get("_XINSHI_CLOCK", "0")))
    if crashing._VARIABLE in os.environ:
        armed = crashing._armed(os.environ[crashing._VARIABLE])
        for module in list(sys.modules.values()):
            if vars(module).get("passing") is crashing._nothing:
                module.passing = armed  # type: ignore[attr-defined]


class _Pipe(asyncio.StreamReaderProtocol):
    """Reads what a process writes. `ended` is set when nobody can write any more."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.reader = asyncio.StreamReader()
        super().__init__(self.reader)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.ended.set()


async def _reading(fd: int) -> tuple[asyncio.ReadTransport, _Pipe]:
    pipe = os.fdopen(fd, "rb", buffering=0)  # closed by its transport
    return await asyncio.get_running_loop().connect_read_pipe(_Pipe, pipe)


class Started:
    """As much of `asyncio.subprocess.Process` as tests use."""

    def __init__(self, pid: int, pipes: dict[str, tuple[asyncio.ReadTransport, _Pipe]]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pipes = pipes
        self.stdout, self.stderr = (pipes[name][1].reader if name in pipes else None for name in ("stdout", "stderr"))
        self._end = asyncio.ensure_future(self._until_the_end())

    async def wait(self) -> int:
        """Its exit code, or minus the number of the signal that ended it."""
        return await asyncio.shield(self._end)

    async def communicate(self) -> tuple[bytes | None, bytes | None]:
        """All it writes, when it has ended."""
        output, errors = await asyncio.gather(_all_of(self.stdout), _all_of(self.stderr))
        await self.wait()
        return output, errors

    def send_signal(self, number: int) -> None:
        """Nothing happens where it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def _until_the_end(self) -> int:
        transport, told = self._pipes["told"]
        self.returncode = int(await told.reader.readline())
        transport.close()
        with contextlib.suppress(TimeoutError):  # what nobody reads, or a child of its own holds open
            async with asyncio.timeout(1):
                for _, pipe in self._pipes.values():
                    await pipe.ended.wait()
        for transport, _ in self._pipes.values():
            transport.close()
        return self.returncode


async def _all_of(stream: asyncio.StreamReader | None) -> bytes | None:
    return None if stream is None else await stream.read()


class _Nursery:
    """One process that forks, for one environment."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.nursery", str(theirs.fileno())],
                env={**environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT, pass_fds=[theirs.fileno()], start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip

        atexit.register(self._close)

    def _close(self) -> None:
        self._control.close()
        self._process.wait()

    def ask(self, order: dict[str, Any], fds: list[int]) -> None:
        words = json.dumps(order).encode()
        socket.send_fds(self._control, [struct.pack("!I", len(words))], fds)
        self._control.sendall(words)


_nurseries: dict[frozenset[tuple[str, str]], _Nursery] = {}


async def start(
    *words: str, environ: Mapping[str, str], cwd: Path | None = None,
    stdin: int | IO[Any] = DEVNULL, stdout: int | IO[Any] = PIPE, stderr: int | IO[Any] = PIPE,
) -> Started:  # fmt: skip
    """As `asyncio.create_subprocess_exec(sys.executable, "-m", "engine", *words, env=environ, …)`, in less time."""
    shared = {name: value for name, value in environ.items() if not name.startswith(_OURS)}
    key = frozenset(shared.items())
    if key not in _nurseries:
        _nurseries[key] = _Nursery(shared)
    theirs: list[int] = []
    ours: dict[str, int] = {}

    def stream(name: str, wanted: int | IO[Any]) -> None:
        if wanted == PIPE:
            ours[name], writing = os.pipe()
            theirs.append(writing)
        elif wanted == DEVNULL:
            theirs.append(os.open(os.devnull, os.O_RDWR))
        else:
            theirs.append(os.dup(wanted if isinstance(wanted, int) else wanted.fileno()))

    for name, wanted in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr), ("told", PIPE)):
        stream(name, wanted)
    _nurseries[key].ask({"words": words, "environ": dict(environ), "cwd": str(cwd or Path.cwd())}, theirs)
    for fd in theirs:
        os.close(fd)
    pipes = {name: await _reading(fd) for name, fd in ours.items()}
    return Started(int(await pipes["told"][1].reader.readline()), pipes)


def _leave(code: int) -> None:
    """End as an interpreter does: wait for its threads, let everybody clean up, tell of what was left open."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()  # what nobody closed warns; what was loaded before is frozen and not looked at
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        sys.exit(code)  # nobody reads any more, of which an interpreter makes a code of its own
    os._exit(code)


if __name__ == "__main__":
    _load()
    order = _serve(socket.socket(fileno=int(sys.argv[1])))
    if order is not None:
        _become(order)
        from engine.cli import main

        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        except KeyboardInterrupt:
            os._exit(130)
        try:
            main()
        except SystemExit as end:
            if type(end.code) is not int:
                raise
            code = end.code
        _leave(code)  # outside the handler, which would hold on to what the command left open
