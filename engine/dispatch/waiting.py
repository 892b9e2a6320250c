"""Waits that something else may end, and tasks that must not outlive a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from engine.errors import EngineError
from engine.telemetry import logger

Result = TypeVar("Result")


async def first_of(*events: asyncio.Event, timeout: float | None = None) -> None:
    """Wait until one of the events is set, or for `timeout` seconds."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


@asynccontextmanager
async def either_set(*events: asyncio.Event) -> AsyncIterator[asyncio.Event]:
    """An event that is set as soon as one of these is."""
    either = asyncio.Event()

    async def watch(event: asyncio.Event) -> None:
        await event.wait()
        either.set()

    watching = [asyncio.ensure_future(watch(event)) for event in events]
    if any(event.is_set() for event in events):
        either.set()
    try:
        yield either
    finally:
        for each in watching:
            each.cancel()


async def unless_set(event: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """What `work` returns; None when the event came first: then it was cancelled, and has cleaned up behind itself."""
    doing = asyncio.ensure_future(work)
    await _ended_or_cancelled(event, doing)
    return None if doing.cancelled() else doing.result()


async def ended_unless(event: asyncio.Event, running: asyncio.Task[None]) -> None:
    """Wait for a task; cancel it when the event comes first, or when this is cancelled. Raises what the task raised."""
    await _ended_or_cancelled(event, running)
    if not running.cancelled():
        running.result()


async def _ended_or_cancelled(event: asyncio.Event, running: asyncio.Future[Any]) -> None:
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        if not running.done():
            running.cancel()
            await asyncio.wait((running,))


async def beside_sending(work: Coroutine[Any, Any, None], without: str) -> None:
    """Await the work; its trouble is logged with what is missing `without` it, and never reaches what is being sent."""
    try:
        await work
    except EngineError as error:
        logger.warning("%s; sending goes on", without, extra={"problem": str(error)})
    except Exception as error:  # noqa: BLE001  a mistake there must not end a campaign; it is told, and nothing is lost
        logger.error("%s; sending goes on", without, exc_info=error)
