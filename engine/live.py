"""What a command shares with the run it starts: what to show, and how to stop it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from engine.dispatch.forecast import Forecast, in_words
from engine.dispatch.timetable import Timetable
from engine.language import N_, _
from engine.ledger.collector import Collector


class Live:
    """What the display shows while a run goes on. Written by the engine, read at the display's own pace."""

    def __init__(self) -> None:
        self.phase = N_("starting")  # shown with `_`
        self.rows = 0
        self.recipients = 0  # to send in this run
        self.collector = Collector(opening=None)
        self.notice: Callable[[str], None] = lambda words: None  # told once of what takes long
        self.recent = ""  # the last thing that went wrong, in words
        self.held_back_by: Callable[[], str] = lambda: ""  # what sending waits for most now, in words
        self.rest = ""  # why not everything goes in this run
        self.forecast = Forecast()
        self.timetable: Timetable | None = None  # the hours of what is being sent
        self.known_ratio = Decimal(1)  # points charged for one expected, as was known when the run began
        self._price_is_told = False

    def show(self, phase: str) -> None:
        """This is being done now."""
        self.phase = phase

    def note_done(self, recipients: int) -> None:
        """So many more have an outcome."""
        self.forecast.note(time.monotonic(), recipients)

    def note_price(self, expected: Decimal) -> None:
        """A segment is expected to cost so many points. Told once, when the gateway charges something else."""
        ratio = None if self._price_is_told else self.collector.ratio
        if ratio is None or ratio == self.known_ratio:
            return
        self._price_is_told = True
        self.notice(
            _(
                "The gateway charges {charged:,f} points for a segment, not {expected:,f} as the profile says "
                "(price_per_segment); what is needed is reckoned with that."
            ).format(charged=ratio * expected, expected=expected)
        )

    def standing(self) -> str:
        """Where the run stands, in words, as far as its pace does not tell."""
        told = ("" if self.phase == "sending" else _(self.phase), self.rest, self.ends())
        return "; ".join(filter(None, told))

    def ends(self) -> str:
        """When the run ends, in words; "" while nobody can tell."""
        now = self.collector.progress()
        left = self.recipients - now.accepted - now.refused - now.in_doubt
        found = self.forecast.ends(time.monotonic(), left) if left > 0 else None
        if found is None:
            return ""
        if self.timetable is not None and self.timetable.closes_within(found.in_s):
            return self.timetable.ends_words(found.in_s, gone=1 - left / self.recipients)
        return in_words(found, time.time())

    def leaves(self) -> str:
        """What of the points is left at the end, in words; "" while nobody can tell."""
        now = self.collector.progress()
        left = self.recipients - now.accepted - now.refused - now.in_doubt
        points = self.collector.leaves(left) if left > 0 else None
        return "" if points is None else _("leaves {points:,f}").format(points=points)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """How a run is asked to end: gently, then at once."""

    gently: asyncio.Event
    now: asyncio.Event
