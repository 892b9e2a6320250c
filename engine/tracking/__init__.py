"""Reports, replies, opt-outs: what the gateway tells afterwards, once."""

from __future__ import annotations

from engine.tracking.optouts import OPT_OUT_WORDS, Barred, is_opt_out
from engine.tracking.poller import Poller, Seam, Step, Waits
from engine.tracking.tracker import Tally, Tracker

__all__ = ["OPT_OUT_WORDS", "Barred", "Poller", "Seam", "Step", "Tally", "Tracker", "Waits", "is_opt_out"]
