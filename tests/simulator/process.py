"""A simulator in a process of its own, which can be killed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import engine.simulator

FOLDER = Path(engine.simulator.__file__).parent


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "engine.simulator", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=FOLDER.parents[1],
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:  # a test that failed leaves nothing listening
            process.kill()
            await process.communicate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mortal:
    """One that listens at `url`."""

    process: asyncio.subprocess.Process
    url: str

    @property
    def port(self) -> str:
        return self.url.rpartition(":")[2]

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        await self.process.communicate()


@asynccontextmanager
async def listening(*arguments: str) -> AsyncIterator[Mortal]:
    async with started(*arguments) as process:
        assert process.stdout is not None
        yield Mortal(process=process, url=json.loads(await process.stdout.readline())["url"])
