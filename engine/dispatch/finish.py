"""A write once begun ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from engine.telemetry import logger

Result = TypeVar("Result")


async def finish(write: Coroutine[Any, Any, Result]) -> Result:
    """Wait for `write` to its end even when cancelled, then re-raise the cancellation.

    One `shield` does not survive a second cancel, so this waits in a loop. A failure of the write that the cancellation
    would hide is logged.
    """
    task = asyncio.ensure_future(write)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except BaseException:  # noqa: BLE001  it is raised again from the task below
            break
    if cancelled is None:
        return task.result()
    if not task.cancelled() and (failure := task.exception()) is not None:
        logger.error("a write failed while its task was being cancelled", exc_info=failure)
    raise cancelled
