"""The gateway's own clock, which may run faster than the real one, so that reports of days come in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnClock:
    """At the real time `wall` it shows `own`, and it runs `speed` times as fast. Both are Unix times in seconds."""

    wall: float
    own: float
    speed: float

    def at(self, wall: float) -> float:
        """What it shows at a real time."""
        return self.own + (wall - self.wall) * self.speed

    def running(self, speed: float, wall: float) -> OwnClock:
        """This clock, faster or slower from a real time on. It does not jump."""
        return OwnClock(wall=wall, own=self.at(wall), speed=speed)
