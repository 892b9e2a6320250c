"""Runs one child process and says what it cost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class MeasureError(Exception):
    """A child failed, or took longer than it may. The text has its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a child took: elapsed and processor seconds, and the most memory it held at a time, in MB (10⁶ bytes)."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    output: str


def run_measured(command: Sequence[str], *, environ: Mapping[str, str], folder: Path, limit_s: float) -> Cost:
    """Run a command to its end. Raises MeasureError when it fails or is not done after `limit_s`."""
    output, errors = folder / "stdout", folder / "stderr"
    with output.open("wb") as stdout, errors.open("wb") as stderr:
        begin = time.perf_counter()
        child = subprocess.Popen(command, env=dict(environ), cwd=folder, stdout=stdout, stderr=stderr)
        # A handle, not the bare number: what it kills is this child, even when the number has a new owner.
        handle = os.pidfd_open(child.pid)
        watch = threading.Timer(limit_s, _kill, (handle,))
        watch.start()
        try:
            # Not Popen.wait: only wait4 tells what this one child used.
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            _kill(handle)
            raise
        finally:
            watch.cancel()
            watch.join()
            os.close(handle)
        wall_s = time.perf_counter() - begin
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        last = errors.read_text(errors="replace").strip().splitlines()[-1:] or ["no word on stderr"]
        overtime = f" (the limit is {limit_s:g} s)" if wall_s >= limit_s else ""
        raise MeasureError(f"exit {child.returncode} after {wall_s:.1f} s{overtime}: {last[0]}")
    return Cost(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_rss_mb=usage.ru_maxrss * 1024 / 1e6,
        output=output.read_text(errors="replace"),
    )


def _kill(handle: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)
