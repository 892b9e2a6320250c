"""A broker in memory, for what no real one does on demand; and an engine that consumes from it in this process."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.clock import Clocks, wall_time
from engine.errors import QueueError
from engine.journal.port import Conduct
from engine.live import Live, Stop
from engine.queues import Delivery
from engine.runs.consuming import Consumed, ConsumeOrder
from engine.runtime import Engine
from engine.settings import load_settings
from engine.simulator import Simulator
from tests.queues.house import SETTINGS

AT_ANY_TIME = Conduct()


class Memory:
    """A queue in memory. What was handed over and not acknowledged comes again when it is opened again."""

    name = "memory://here/notices"

    def __init__(self) -> None:
        self.waiting: deque[bytes] = deque()
        self.handed: dict[Delivery, bytes] = {}
        self.dead: list[tuple[Any, str]] = []
        self.told: list[dict[str, Any]] = []
        self.opened = 0
        self.taken = asyncio.Event()  # something was handed over
        self.breaks: list[str] = []  # the next verb of these names fails
        self.on_ack: Callable[[Sequence[Delivery]], None] = lambda deliveries: None

    def put(self, *messages: dict[str, Any] | bytes) -> None:
        """Somebody produces messages."""
        self.waiting += [each if isinstance(each, bytes) else json.dumps(each).encode() for each in messages]

    def _pass(self, verb: str) -> None:
        if verb in self.breaks:
            self.breaks.remove(verb)
            raise QueueError(f"{self.name}: broken at {verb}")

    async def open(self) -> None:
        self._pass("open")
        self.opened += 1
        self.waiting.extendleft(reversed(self.handed.values()))
        self.handed.clear()

    async def fetch(self, most: int, wait_s: float) -> Sequence[Delivery]:
        self._pass("fetch")
        if not self.waiting:
            await asyncio.sleep(min(wait_s, 0.01))
        found = []
        while self.waiting and len(found) < most:
            delivery = Delivery(body=self.waiting.popleft(), handle=None)
            self.handed[delivery] = delivery.body
            found.append(delivery)
        if found:
            self.taken.set()
        return found

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        self._pass("ack")
        self.on_ack(deliveries)
        for each in deliveries:
            self.handed.pop(each, None)

    async def nack(self, deliveries: Sequence[Delivery]) -> None:
        for each in deliveries:
            self.waiting.append(self.handed.pop(each))

    async def bury(self, delivery: Delivery, reason: str) -> None:
        self._pass("bury")
        self.dead.append((delivery.body, reason))
        self.handed.pop(delivery, None)

    async def publish(self, place: str, payloads: Sequence[bytes]) -> None:
        self._pass("publish")
        self.told += [json.loads(each) | {"place": place} for each in payloads]

    async def close(self) -> None:
        pass


class Room:
    """A folder, a simulated gateway, a queue in memory."""

    def __init__(self, folder: Path, sim: Simulator) -> None:
        self.folder, self.sim, self.source = folder, sim, Memory()
        self.stop = Stop(gently=asyncio.Event(), now=asyncio.Event())

    @asynccontextmanager
    async def engine(self, wall: Callable[[], datetime] = wall_time, **keys: object) -> AsyncIterator[Engine]:
        """The engine, opened as a command opens it."""
        config = self.folder / "xinshi.toml"
        config.write_text(SETTINGS.format(url=self.sim.url, queue="memory://here/notices"), encoding="utf-8")
        environ = {"XINSHI_ACCOUNT__PASSWORD": "demo", "XDG_STATE_HOME": str(self.folder), "HOME": str(self.folder)}
        async with Engine.open(
            load_settings(config, overrides=keys, environ=environ), "default", clocks=Clocks(wall=wall)
        ) as engine:
            yield engine

    async def consume(self, *, once: bool = True, outcomes: str = "", **keys: object) -> Consumed:
        """Consume the queue until it is empty, with these settings."""
        async with self.engine(**keys) as engine:
            return await self.consumed(engine, once=once, outcomes=outcomes)

    async def consumed(
        self,
        engine: Engine,
        *,
        once: bool = True,
        outcomes: str = "",
        backlog: int = 10_000,
        linger_s: float = 0.02,
        conduct: Conduct = AT_ANY_TIME,
    ) -> Consumed:
        """The same with an engine that is open."""
        order = ConsumeOrder(
            name="notices", linger_s=linger_s, backlog=backlog, outcomes=outcomes, once=once, conduct=conduct
        )
        return await engine.consume(self.source, order, live=Live(), stop=self.stop)

    def rows(self, query: str) -> list[Any]:
        """What the journal holds."""
        with closing(sqlite3.connect(f"file:{self.folder / 'xinshi.db'}?mode=ro", uri=True)) as journal:
            return journal.execute(query).fetchall()

    def given(self, mobile: str) -> list[str | None]:
        """The texts a number was sent, without the signature."""
        return [text and text.removeprefix("【测试】") for text in self.sim.told(mobile)]

    def planned(self) -> int:
        """The recipients that wait in the journal."""
        ((found,),) = self.rows("SELECT coalesce(sum(size), 0) FROM batch WHERE state IN ('planned', 'claimed')")
        return int(found)
