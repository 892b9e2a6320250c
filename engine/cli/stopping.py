"""How Ctrl-C and SIGTERM end a command that runs something: gently, then at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engine.cli import out
from engine.cli.exits import StoppedAtOnce
from engine.cli.words import Common
from engine.errors import JournalError
from engine.interrupts import ENDING
from engine.language import _
from engine.live import Live, Stop
from engine.runtime import Engine


@asynccontextmanager
async def stopping(common: Common, live: Live, engine: Engine | None = None) -> AsyncIterator[tuple[Stop, list[int]]]:
    """The first SIGINT or SIGTERM asks to stop gently, the second at once. The list holds those that came.

    Behind the block, where all that is left is to close, one more is let pass, and the next ends the process where it stands.
    Raises StoppedAtOnce where the second left the journal no time.
    """
    stop = Stop(gently=asyncio.Event(), now=asyncio.Event())
    caught: list[int] = []
    loop = asyncio.get_running_loop()

    def came(number: int) -> None:
        caught.append(number)
        if stop.now.is_set():
            return
        if stop.gently.is_set():
            stop.now.set()
            if engine is not None:
                engine.journal.hurry()
        else:
            waits = _("waiting for the answers under way; once more to stop at once.") if live.recipients else "…"
            out.tell(common, _("\nStopping: {waits}\n").format(waits=waits))
            stop.gently.set()
            if engine is not None:
                engine.journal.when_silent(on_silence)

    def on_silence(pid: int) -> None:
        if not stop.now.is_set():
            out.tell(
                common,
                _(
                    "Waiting: process {pid}, which writes the journal, does not answer; once more to stop without it.\n"
                ).format(pid=pid),
            )

    # Not by the loop's own handlers: to remove them puts back Python's, which raises in the middle of the loop and breaks it.
    for each in ENDING:
        signal.signal(each, lambda number, _frame: loop.call_soon_threadsafe(came, number))
    try:
        yield stop, caught
    except JournalError as error:
        if not stop.now.is_set():
            raise
        raise StoppedAtOnce(str(error), signal=caught[0]) from error
    finally:
        for each in ENDING:
            signal.signal(each, lambda number, _frame: signal.signal(number, signal.SIG_DFL))
