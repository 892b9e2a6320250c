"""Starts a program of the operator's with a message on its standard input. No shell, no secrets in its environment."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import suppress

from engine.errors import NotTold
from engine.language import _
from engine.telemetry import mask
from engine.terms import system_words

_OURS = "XINSHI_"


async def start(words: Sequence[str], message: bytes, *, timeout_s: float) -> None:
    """Run it to its end. Raises NotTold: it cannot be started, takes too long (then it is killed), or does not exit with 0."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=PIPE, stdout=DEVNULL, stderr=PIPE, env=environ, start_new_session=True
        )
    except (OSError, ValueError) as error:
        raise NotTold(
            _("{program} cannot be started: {problem}").format(program=words[0], problem=system_words(error))
        ) from error
    try:
        async with asyncio.timeout(timeout_s):
            __, told = await process.communicate(message)
    except TimeoutError as error:
        raise NotTold(
            _("{program} did not end within {seconds:g} s").format(program=words[0], seconds=timeout_s), may_help=True
        ) from error
    finally:
        if process.returncode is None:
            await _kill(process)
    if process.returncode:
        last = (told.decode("utf-8", "replace").strip().splitlines() or [""])[-1][:200]
        raise NotTold(
            _("{program} ended with code {code}: {last}")
            .format(program=words[0], code=process.returncode, last=mask(last))
            .rstrip(": "),
            may_help=True,
        )


async def _kill(process: Process) -> None:
    """End it with everything it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
