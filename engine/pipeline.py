"""Row -> Recipient -> Batch in a process of its own.

Reading a million rows takes a core for a second. In its own process that second passes while the sender loads its
libraries, logs in and writes the first batches to the journal. Frames on the pipes: four bytes of length, then a pickle;
both ends are this program.

    parent                      child
    Reading  ── request ──►     inspect
             ◄── ListFile ──
             ── Cut ──────►     read, batch, write the rejects
             ◄── Part … ───
             ◄── PlanTally ─
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from engine.errors import EngineError, IntakeError
from engine.model import Excluded, Message, PlannedBatch

if TYPE_CHECKING:  # the parent loads neither stage
    from decimal import Decimal

    from engine.intake import ListFile
    from engine.planning import PlanTally

_END_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which list, and what the operator says about it."""

    path: Path
    column: str | None
    encoding: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How the recipients are screened and cut into batches.

    `price` in points per segment; `rejects` is written when a row is left out.
    """

    max_recipients: int
    distinct: bool
    message: Message
    price: Decimal
    rejects: Path
    opted_out: bytes = b""  # a packed set; see intake/screening.py


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of the plan, in order. `rows` counts from the beginning."""

    batches: list[PlannedBatch]
    excluded: list[Excluded]
    rows: int


class Pipeline:
    """The parent's end. Its methods block; call them in a thread. A context manager: leaving it ends the child."""

    def __init__(self, path: Path, *, column: str | None = None, encoding: str | None = None) -> None:
        self._path = path
        self._list_file: ListFile | None = None
        self._tally: PlanTally | None = None
        self._child = subprocess.Popen(
            # -P: a csv.py in the working directory is not what we mean by csv.
            [sys.executable, "-P", "-m", "engine.pipeline"],
            env=module_environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with suppress(IntakeError):  # a child that is gone already is told to whoever asks for what it read
            self._send(Request(path=path, column=column, encoding=encoding))

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what could not be written is still in its buffer
                    pipe.close()

    def end(self) -> None:
        """End the child now; it removes its unfinished files. A thread that waits for it gets an IntakeError."""
        self._child.send_signal(signal.SIGUSR1)
        try:
            self._child.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def inspected(self) -> ListFile:
        """What the list turned out to be. Raises IntakeError."""
        if self._list_file is None:
            self._list_file = self._receive()
        return self._list_file

    def parts(self, cut: Cut) -> Iterator[Part]:
        """The plan, stretch by stretch; afterwards `tally` has its sums. Raises IntakeError."""
        self.inspected()
        self._send(cut)
        while isinstance(part := self._receive(), Part):
            yield part
        self._tally = part

    @property
    def tally(self) -> PlanTally:
        """The sums of the whole plan, once all parts have come."""
        assert self._tally is not None
        return self._tally

    def _send(self, value: object) -> None:
        assert self._child.stdin is not None
        try:
            _write(self._child.stdin, value)
        except BrokenPipeError:
            raise self._died() from None

    def _receive(self) -> Any:
        assert self._child.stdout is not None
        try:
            value = _read(self._child.stdout)
        except EOFError:
            raise self._died() from None
        if isinstance(value, EngineError):
            raise value
        return value

    def _died(self) -> IntakeError:
        code = self._child.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return IntakeError(f"the process that reads the list {how}", source=self._path)


def module_environ() -> dict[str, str]:
    """For `python -P -m MODULE`: our environment, and the places where this process finds its modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}


def main() -> None:
    """The child. Ends when the parent closes a pipe, however the parent ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # both also come to the whole group; the parent decides
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, _stop)
    source, target = sys.stdin.buffer, sys.stdout.buffer
    try:
        _answer(source, target)
    except EngineError as error:
        _write(target, error)
    except (BrokenPipeError, EOFError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())  # for what Python still holds in its buffer


def _stop(*_: object) -> None:
    raise EOFError


def _answer(source: IO[bytes], target: IO[bytes]) -> None:
    from engine.intake import RejectsFile, Screen, Seen, inspect, read
    from engine.planning import Batcher, PlanTally

    request: Request = _read(source)
    list_file = inspect(request.path, column=request.column, encoding=request.encoding)
    _write(target, list_file)
    cut: Cut = _read(source)
    batcher = Batcher(cut.max_recipients, distinct=cut.distinct)
    tally = PlanTally(cut.message, price=cut.price)
    screen = Screen(cut.opted_out)
    with RejectsFile(cut.rejects) as rejects:
        for chunk in map(screen.sift, read(list_file, seen=Seen())):
            tally.add_chunk(chunk)
            rejects.add(chunk.excluded)
            _write(target, _part(batcher.add(chunk), chunk.excluded, tally))
        _write(target, _part(batcher.finish(), [], tally))
    _write(target, tally)


def _part(batches: list[PlannedBatch], excluded: list[Excluded], tally: PlanTally) -> Part:
    for batch in batches:
        tally.add_batch(batch)
    return Part(batches=batches, excluded=excluded, rows=tally.rows)


def _write(pipe: IO[bytes], value: object) -> None:
    frame = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(len(frame).to_bytes(4, "big"))
    pipe.write(frame)
    pipe.flush()


def _read(pipe: IO[bytes]) -> Any:
    size = int.from_bytes(_exactly(pipe, 4), "big")
    return pickle.loads(_exactly(pipe, size))  # noqa: S301  the other end is this program


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:  # the other end died in the middle of a frame
        raise EOFError
    return data


if __name__ == "__main__":
    # As `engine.pipeline`, not `__main__`, so that both ends mean the same classes.
    from engine import pipeline

    pipeline.main()
