"""Takes notices and tells them beside everything else: in order, a few attempts each, none of it in anybody's way."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from engine.dispatch.retry import RetryPolicy, until_told
from engine.errors import NotTold
from engine.notify import command, formats, posting
from engine.notify.channels import Channels
from engine.notify.notice import Notice
from engine.telemetry import hide, logger

WAITING_MOST = 100  # notices; of more the oldest are given up
FLUSH_S = 30.0
"""How long the end of a program may wait for what is still to be told."""
RETRY = RetryPolicy(attempts=3, wait_s=1.0, wait_max_s=5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of a notice on one way. `problem` is "" where it was told."""

    channel: str
    problem: str = ""


class Outbox:
    """Tells notices through the channels. `put` never waits and never fails."""

    def __init__(self, channels: Channels, *, retry: RetryPolicy = RETRY) -> None:
        self._channels, self._retry = channels, retry
        self._waiting: asyncio.Queue[Notice | None] = asyncio.Queue()
        for secret in channels.secrets():
            hide(secret)

    @classmethod
    @asynccontextmanager
    async def open(cls, channels: Channels, *, flush_s: float = FLUSH_S) -> AsyncIterator[Outbox]:
        """Telling beside the block; at its end what waits is told, for at most `flush_s` seconds."""
        outbox = cls(channels)
        telling = asyncio.create_task(outbox._tell_all(), name="notifications")
        try:
            yield outbox
        finally:
            outbox._waiting.put_nowait(None)
            await asyncio.wait((telling,), timeout=flush_s)
            if not telling.done():
                logger.warning("notifications were given up at the end", extra={"waiting": outbox._waiting.qsize()})
                telling.cancel()
                await asyncio.wait((telling,))
            if not telling.cancelled() and (mistake := telling.exception()) is not None:
                logger.error("notifications had stopped", exc_info=mistake)

    def put(self, notice: Notice) -> None:
        """Tell it soon, if it is one of those that are wanted."""
        if notice.kind.value not in self._channels.on or not self._channels.names:
            return
        if self._waiting.qsize() >= WAITING_MOST:
            self._waiting.get_nowait()
            logger.warning("a notification was given up: too many wait")
        self._waiting.put_nowait(notice)

    async def deliver(self, notice: Notice) -> list[Delivery]:
        """Tell it now, every way at once, and say what became of it."""
        return list(await asyncio.gather(*(self._deliver(name, notice) for name in self._channels.names)))

    async def _tell_all(self) -> None:
        while (notice := await self._waiting.get()) is not None:
            for each in await self.deliver(notice):
                if each.problem:
                    logger.warning(
                        "a notification could not be delivered",
                        extra={"channel": each.channel, "kind": notice.kind.value, "problem": each.problem},
                    )

    async def _deliver(self, name: str, notice: Notice) -> Delivery:
        async def attempt() -> None:
            await self._attempt(name, notice)

        try:
            await until_told(attempt, self._retry, asyncio.sleep)
        except NotTold as error:
            return Delivery(channel=name, problem=str(error))
        return Delivery(channel=name)

    async def _attempt(self, name: str, notice: Notice) -> None:
        channels = self._channels
        match name:
            case "command":
                message = _encoded(formats.plain(notice))
                await command.start(channels.command, message, timeout_s=channels.timeout_s)
            case "webhook":
                await posting.post(channels.webhook, _encoded(formats.plain(notice)), timeout_s=channels.timeout_s)
            case "wecom":
                await self._robot(channels.wecom, formats.wecom(notice))
            case _:
                url = channels.dingtalk
                if channels.dingtalk_secret:
                    url = formats.signed(url, channels.dingtalk_secret, at_ms=round(time.time() * 1000))
                await self._robot(url, formats.dingtalk(notice))

    async def _robot(self, url: str, message: dict[str, object]) -> None:
        answer = await posting.post(url, _encoded(message), timeout_s=self._channels.timeout_s)
        problem, may_help = formats.robot_problem(answer)
        if problem:
            raise NotTold(problem, may_help=may_help)


def _encoded(message: dict[str, object]) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "backslashreplace")
