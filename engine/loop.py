"""The event loop a command runs in."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any


def run_in_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run an async command on uvloop, where there is one. Returns its exit code."""
    try:
        import uvloop
    except ImportError:  # not on this platform
        factory = None
    else:
        factory = uvloop.new_event_loop
    gc.freeze()  # the libraries stay; looking through them at every collection cost a campaign 8 % of its time
    gc.set_threshold(50_000, 20, 100)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
