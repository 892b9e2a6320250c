"""Redis (or Valkey) Streams: a consumer group, dead letters in NAME:dead. The door of redis-py.

redis[s]://[user@]host[:port]/[db/]stream?group=xinshi. An entry holds its JSON in the field `data`, or in the only one it has.

What an earlier run of ours left unacknowledged is read first; what another consumer of the group left is claimed after
`idle_s`. The server should run with appendonly and appendfsync always: only then survives what it acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from engine.errors import QueueError, SettingsError
from engine.language import _
from engine.queues.source import DEFAULT_GROUP, Address, Delivery, Terms

DATA = b"data"
_NEW, _OURS = ">", "0"
_CLAIMS_A_LIFETIME = 4  # looks for dead consumers in the time after which one counts as dead


class RedisStreams:
    """One stream, read as one consumer of a group."""

    def __init__(self, address: Address, terms: Terms) -> None:
        address.refuse_options_but("group")
        self.name, self._address, self._terms = address.name, address, terms
        self._stream, self._db = _stream_of(address)
        self._group = address.option("group", DEFAULT_GROUP)
        self._client: Redis | None = None
        self._reads_ours_after: str | None = _OURS  # None: what we left behind is read
        self._claimed_at_s = 0.0

    async def open(self) -> None:
        await self.close()
        (host, port), terms = self._address.hosts[0], self._terms
        self._client = Redis(
            host=host.strip("[]"),
            port=port or 6379,
            db=self._db,
            username=self._address.user or None,
            password=terms.password or None,
            ssl=self._address.scheme == "rediss",
            socket_connect_timeout=terms.connect_s,
            socket_timeout=terms.answer_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._reads_ours_after, self._claimed_at_s = _OURS, 0.0
        async with self._talking() as client:
            try:
                await client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):  # it is there already
                    raise

    async def fetch(self, most: int, wait_s: float) -> Sequence[Delivery]:
        async with self._talking() as client:
            if self._reads_ours_after is not None:
                if ours := await self._left_behind(client, self._reads_ours_after, most):
                    return ours
                self._reads_ours_after = None
            if time.monotonic() - self._claimed_at_s >= self._terms.idle_s / _CLAIMS_A_LIFETIME:
                if claimed := await self._of_the_dead(client, most):
                    return claimed
                self._claimed_at_s = time.monotonic()
            return await self._read(client, _NEW, most, block_ms=max(1, round(wait_s * 1000)))

    async def _left_behind(self, client: Redis, after: str, most: int) -> list[Delivery]:
        found = await self._read(client, after, most)
        if found:
            self._reads_ours_after = str(found[-1].handle)
        return found

    async def _read(self, client: Redis, after: str, most: int, *, block_ms: int | None = None) -> list[Delivery]:
        streams: Any = {self._stream: after}
        answer: Any = await client.xreadgroup(self._group, self._terms.consumer, streams, count=most, block=block_ms)
        return await self._delivered(client, answer[0][1] if answer else [])

    async def _of_the_dead(self, client: Redis, most: int) -> list[Delivery]:
        answer: Any = await client.xautoclaim(
            self._stream, self._group, self._terms.consumer, round(self._terms.idle_s * 1000), count=most
        )
        return await self._delivered(client, answer[1])

    async def _delivered(self, client: Redis, entries: list[tuple[bytes, dict[bytes, bytes] | None]]) -> list[Delivery]:
        if gone := [entry_id for entry_id, fields in entries if not fields]:  # deleted or trimmed while it waited
            await client.xack(self._stream, self._group, *gone)
        return [Delivery(body=_body(fields), handle=entry_id.decode()) for entry_id, fields in entries if fields]

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            async with self._talking() as client:
                await client.xack(self._stream, self._group, *(str(each.handle) for each in deliveries))

    async def nack(self, deliveries: Sequence[Delivery]) -> None:
        """Nothing to say: they stay pending, and are read first when we begin anew, or claimed by another consumer."""

    async def bury(self, delivery: Delivery, reason: str) -> None:
        entry_id = str(delivery.handle)
        async with self._talking() as client, client.pipeline(transaction=True) as both:
            both.xadd(f"{self._stream}:dead", {"data": delivery.body, "reason": reason, "id": entry_id})
            both.xack(self._stream, self._group, entry_id)
            await both.execute()

    async def publish(self, place: str, payloads: Sequence[bytes]) -> None:
        async with self._talking() as client, client.pipeline(transaction=True) as all_of_them:
            for payload in payloads:
                all_of_them.xadd(place, {"data": payload})
            await all_of_them.execute()

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    @asynccontextmanager
    async def _talking(self) -> AsyncIterator[Redis]:
        if self._client is None:
            raise QueueError(_("{source} is not open").format(source=self.name))
        try:
            yield self._client
        except (RedisError, OSError) as error:
            raise QueueError(f"{self.name}: {error or type(error).__name__}") from error


def _stream_of(address: Address) -> tuple[str, int]:
    match address.path:
        case (stream,):
            return stream, 0
        case (db, stream) if db.isdecimal() and db.isascii():
            return stream, int(db)
        case _:
            raise SettingsError(
                _("{source}: an address of a stream is redis://host:port/[db/]stream").format(source=address.name)
            )


def _body(fields: dict[bytes, bytes]) -> bytes:
    if DATA in fields:
        return fields[DATA]
    # Several fields and none of that name: not readable as JSON, so it is buried with that reason.
    return next(iter(fields.values())) if len(fields) == 1 else b" ".join(fields)


def make(address: Address, terms: Terms) -> RedisStreams:
    """See `source.GROUP`."""
    return RedisStreams(address, terms)
