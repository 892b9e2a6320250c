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

_SAMPLE_S = 0.05


class MeasureError(Exception):
    """A child failed, or took longer than it may. The text has its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a child took, its own children included: elapsed and processor seconds, and memory in MB (10⁶ bytes).

    `peak_rss_mb` is that of its largest process, `peak_sum_mb` of all at one moment (0 where nobody looked).
    """

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    peak_sum_mb: float
    output: str


def run_measured(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    folder: Path,
    limit_s: float,
    watch_memory: bool = False,
) -> Cost:
    """Run a command to its end. Raises MeasureError when it fails or is not done after `limit_s`.

    `watch_memory` looks at all its processes twenty times a second.
    """
    output, errors = folder / "stdout", folder / "stderr"
    with output.open("wb") as stdout, errors.open("wb") as stderr:
        begin = time.perf_counter()
        child = subprocess.Popen(
            command, env=dict(environ), cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
        )
        # A handle, not the bare number: what it kills is this child, even when the number has a new owner.
        handle = os.pidfd_open(child.pid)
        watch = threading.Timer(limit_s, _kill, (handle,))
        watch.start()
        memory = MemoryWatch(child.pid) if watch_memory else None
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
            if memory:
                memory.end()
        wall_s = time.perf_counter() - begin
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        last = errors.read_text(errors="replace").strip().splitlines()[-1:] or ["no word on stderr"]
        overtime = f" (the limit is {limit_s:g} s)" if wall_s >= limit_s else ""
        raise MeasureError(f"exit {child.returncode} after {wall_s:.1f} s{overtime}: {last[0]}")
    return Cost(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_rss_mb=memory.largest_mb if memory else usage.ru_maxrss * 1024 / 1e6,
        peak_sum_mb=memory.sum_mb if memory else 0.0,
        output=output.read_text(errors="replace"),
    )


class MemoryWatch:
    """Looks at a process and its descendants until it is ended: the peak of the largest, and of the sum at one moment.

    In the sum, a page that several of them share is counted once (PSS): one of them is a fork of another.
    """

    def __init__(self, pid: int) -> None:
        self.largest_mb = self.sum_mb = 0.0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory")
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            pids = family(self._pid)
            self.largest_mb = max([self.largest_mb, *(_megabytes(pid, "status", "VmHWM") for pid in pids)])
            self.sum_mb = max(self.sum_mb, sum(_megabytes(pid, "smaps_rollup", "Pss") for pid in pids))


def family(pid: int) -> list[int]:
    """A process and all its descendants that live now."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{parent}/task"):
                found += map(int, Path(f"/proc/{parent}/task/{task}/children").read_text().split())
    return found


def cpu_s(pid: int) -> float:
    """Processor seconds of a living process and of its descendants, dead or alive."""
    ticks = 0
    for each in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # user, system, and both of children that have ended
    return ticks / os.sysconf("SC_CLK_TCK")


def _megabytes(pid: int, file: str, name: str) -> float:
    """A line of one of a process's files; 0 where it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def _kill(handle: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)
