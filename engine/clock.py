"""A clock that does not jump: wall time when it was made, and from then on the seconds that really passed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

_OFF = timedelta(seconds=float(os.environ.get("_XINSHI_CLOCK", "0")))
"""How far the machine's clock was set off: by a test, as in crashing.py. 0 in production."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


boottime: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""Seconds on a clock that goes on while the machine is suspended, so that a lease ends in a closed laptop too."""


def boot_id() -> str:
    """Names this boot of this machine; "" where the system does not tell."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def wall_time() -> datetime:
    """The time of the machine's clock, aware UTC. It may jump: somebody sets it."""
    return datetime.now(UTC) + _OFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The clocks of one machine, by default those of this one."""

    wall: Callable[[], datetime] = wall_time  # by which people live; it may jump
    passing: Callable[[], float] = boottime  # seconds, those of a suspend too
    monotonic: Callable[[], float] = time.monotonic  # seconds while the machine is awake

    def steady(self) -> SteadyClock:
        """A clock that shows what the wall shows now, and does not jump."""
        return SteadyClock(wall=self.wall(), passing=self.passing)


class SteadyClock:
    """Aware UTC times that never go back and never leap, whatever somebody does to the machine's clock meanwhile.

    Settlement orders what happened by these times and counts its patience with them.
    """

    def __init__(self, *, wall: datetime | None = None, passing: Callable[[], float] = boottime) -> None:
        """`wall` is the time now, the machine's where none is given; `passing` are the seconds since the boot."""
        self._passing, self._start_s = passing, passing()
        self._wall = datetime.now(UTC) + _OFF if wall is None else wall

    def __call__(self) -> datetime:
        return self._wall + timedelta(0, self._passing() - self._start_s)

    @property
    def booted_at(self) -> datetime:
        """The time of this clock at which the machine booted: what ties the clocks of two processes to each other."""
        return self._wall - timedelta(seconds=self._start_s)

    def follow(self, booted_at: datetime) -> timedelta:
        """Go on as the clock with that `booted_at` would. Returns by how much that moves this one."""
        moved = booted_at - self.booted_at
        self._wall += moved
        return moved

    def not_before(self, earliest: datetime) -> timedelta:
        """Go forward to `earliest` if this clock is behind it. Returns by how much."""
        behind = max(earliest - self(), timedelta(0))
        self._wall += behind
        return behind
