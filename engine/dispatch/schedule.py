"""What the gateway keeps and sends at a moment: until when it may be handed over. Source: gateway/protocol.md §4.3."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from engine.language import _
from engine.moments import CHINA

LEAD = timedelta(minutes=1)
"""Handed over closer to its moment than this, it might come too late: clocks differ, and a request takes its time."""
FURTHEST = timedelta(days=30)
"""Nobody says how far ahead a gateway keeps messages, and nobody can take them back."""


class Schedule:
    """The moment at which the gateway is to send, on a wall clock (aware; it may jump)."""

    def __init__(self, at: datetime, wall: Callable[[], datetime]) -> None:
        self.at, self._wall = at, wall

    @property
    def is_over(self) -> bool:
        """Whether nothing may be handed over for it any more."""
        return is_over(self.at, self._wall())

    def words(self) -> str:
        """What a person is told then."""
        return _("it was to be sent at {moment}, and that is over, or too near to hand anything over").format(
            moment=date_words(self.at)
        )


def is_over(at: datetime, now: datetime) -> bool:
    """Whether it is too late to hand over what is to be sent at a moment."""
    return now > at - LEAD


def is_too_far(at: datetime, now: datetime) -> bool:
    """Whether a moment is so far ahead that nobody knows whether the gateway keeps it."""
    return at > now + FURTHEST


def date_words(at: datetime) -> str:
    """ "2026-12-01 09:00 China time": the gateway's clock, and no doubt about the day."""
    then = at.astimezone(CHINA)
    return f"{then:%Y-%m-%d %H:%M:%S}".removesuffix(":00") + " " + _("China time")
