"""What a command shares with the run it starts: what to show, and how to stop it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from engine.ledger.collector import Collector


class Live:
    """What the display shows while a run goes on. Written by the engine, read at the display's own pace."""

    def __init__(self) -> None:
        self.phase = "starting"
        self.rows = 0
        self.recipients = 0  # to send in this run
        self.collector = Collector(opening=None)
        self.notice: Callable[[str], None] = lambda words: None  # told once of what takes long
        self.recent = ""  # the last thing that went wrong, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """How a run is asked to end: gently, then at once."""

    gently: asyncio.Event
    now: asyncio.Event
