"""The truth on disk: one line of JSON per event, so that a simulator that was killed goes on where it was."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from typing import Any

Event = dict[str, Any]
"""One thing that happened. `e` names it; the rest is what `Books.happen_again` and the gateway read."""


class StateFile:
    """An append-only file for one simulator at a time. Raises OSError when it cannot be opened or another has it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            os.close(self._file)
            raise OSError(problem.errno, "another simulator keeps its state here", path) from problem

    def events(self) -> Iterator[Event]:
        """Everything that happened, in order. An event that a kill cut in half is dropped: nobody was told of it.

        Raises ValueError for a line that no simulator wrote.
        """
        size = os.fstat(self._file).st_size
        with open(self._file, "rb", closefd=False) as lines:
            lines.seek(0)
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    os.ftruncate(self._file, size - len(line))
                    return
                try:
                    event = json.loads(line)
                    yield {**event, "e": event["e"]}
                except (ValueError, KeyError, TypeError) as problem:
                    raise ValueError(f"{self._path}: line {number} is no event") from problem

    def append(self, event: Event) -> None:
        """Write one event: one write, done when this returns, which is enough against a kill of the process.

        It blocks the loop on purpose: no answer may overtake it.
        """
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        written = os.write(self._file, line)
        if written != len(line):
            raise OSError(f"{self._path}: {written} of {len(line)} bytes were written")

    def close(self) -> None:
        """Let another simulator have the file. Events after this are errors, not writes to whatever is opened next."""
        file, self._file = self._file, -1
        os.close(file)
