"""Forks what reads a list or a workbook, in place of starting an interpreter that loads the same libraries anew.

What is forked is a process with its own environment and streams, which can be killed like any other. Their own tests start them
as a sender does.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn


class Forking(subprocess.Popen[bytes]):
    """To be put in the place of Popen. Whatever else is started is started."""

    def _execute_child(self, *how: Any) -> None:
        names = inspect.signature(super()._execute_child).parameters  # type: ignore[misc]
        given = dict(zip(names, how, strict=True))
        main = _main_of(given["args"])
        if main is None or threading.active_count() > 1:
            super()._execute_child(*how)  # type: ignore[misc]
            return
        self.pid = os.fork()
        if self.pid == 0:
            _become(main, given)
        self._child_created = True
        self._close_pipe_fds(*map(given.get, ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")))  # type: ignore[attr-defined]


def _main_of(words: Sequence[str]) -> Callable[[], None] | None:
    if words[-2:] == ["-m", "engine.orders.pipeline"]:
        from engine.orders import pipeline

        return pipeline.main
    if "from engine.intake import sheets; sheets.main()" in words:
        from engine.intake import sheets

        return sheets.main
    return None


def _become(main: Callable[[], None], given: dict[str, Any]) -> NoReturn:
    """Turn this child into the process that was wanted, to its end."""
    code = 1
    try:
        for at, name in enumerate(("p2cread", "c2pwrite", "errwrite")):
            if given[name] != -1:  # else it has ours
                os.dup2(given[name], at)
        for fd in map(int, os.listdir("/proc/self/fd")):
            if fd > 2 and fd not in given["pass_fds"]:
                with contextlib.suppress(OSError):  # the folder's own, closed already
                    os.close(fd)
        os.environ.clear()
        os.environ.update(given["env"])
        _held = (sys.stdin, sys.stdout, sys.stderr)  # what they hold is whose process this was
        sys.argv = list(given["args"][-2:])
        sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        main()
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
