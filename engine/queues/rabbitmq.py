"""RabbitMQ: a quorum queue, prefetch, acknowledged by hand; dead letters in NAME.dead. The door of aio-pika.

amqp[s]://[user@]host[:port]/[vhost/]queue. A queue that is not there is declared as a durable quorum queue; one that is there
is taken as it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, AMQPError, ChannelInvalidStateError, ChannelNotFoundEntity

from engine.errors import QueueError, SettingsError
from engine.language import _
from engine.queues.source import Address, Delivery, Terms

for _library in ("aio_pika", "aiormq"):
    logging.getLogger(_library).addHandler(logging.NullHandler())  # what they say comes to us as an error

_QUORUM: dict[str, Any] = {"x-queue-type": "quorum"}
_PORTS = {"amqp": 5672, "amqps": 5671}


class RabbitQueue:
    """One queue, read by one consumer over one connection."""

    def __init__(self, address: Address, terms: Terms) -> None:
        address.refuse_options_but()
        self.name, self._terms = address.name, terms
        self._login, self._queue = _login_of(address, terms.password), address.path[-1]
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._arrived: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()
        self._declared: set[str] = set()

    async def open(self) -> None:
        await self.close()
        self._arrived, self._declared = asyncio.Queue(), set()
        arrived = self._arrived
        async with self._talking():
            async with asyncio.timeout(self._terms.connect_s):
                self._connection = await aio_pika.connect(**self._login)
            self._channel = await self._connection.channel(publisher_confirms=True)
            # A channel may be closed alone, by the broker. Whoever waits for a message must know.
            self._channel.close_callbacks.add(lambda *_: arrived.put_nowait(None))
            await self._channel.set_qos(prefetch_count=self._terms.ahead)
            queue = await self._declare(self._queue)
            await queue.consume(self._arrived.put)

    async def _declare(self, name: str) -> AbstractQueue:
        """The queue of that name as it is, or a new one. To ask for one that is not there closes the channel that asked."""
        assert self._connection is not None
        assert self._channel is not None
        async with asyncio.timeout(self._terms.answer_s):
            try:
                async with self._connection.channel() as asking:
                    await asking.declare_queue(name, passive=True)
            except ChannelNotFoundEntity:
                return await self._channel.declare_queue(name, durable=True, arguments=_QUORUM)
            return await self._channel.get_queue(name, ensure=False)

    async def fetch(self, most: int, wait_s: float) -> Sequence[Delivery]:
        found: list[AbstractIncomingMessage] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                found.append(self._present(await self._arrived.get()))
        while found and len(found) < most and not self._arrived.empty():
            found.append(self._present(self._arrived.get_nowait()))
        return [Delivery(body=each.body, handle=each) for each in found]

    def _present(self, message: AbstractIncomingMessage | None) -> AbstractIncomingMessage:
        if message is None:
            self._arrived.put_nowait(None)
            raise QueueError(_("{source}: the connection was lost").format(source=self.name))
        return message

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        async with self._talking():
            for each in deliveries:
                await _message(each).ack()

    async def nack(self, deliveries: Sequence[Delivery]) -> None:
        async with self._talking():
            for each in deliveries:
                await _message(each).nack(requeue=True)

    async def bury(self, delivery: Delivery, reason: str) -> None:
        await self._publish(f"{self._queue}.dead", delivery.body, {"reason": reason})
        await self.ack([delivery])

    async def publish(self, place: str, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            await self._publish(place, payload, {})

    async def _publish(self, queue: str, body: bytes, headers: dict[str, Any]) -> None:
        """Returns when the broker has confirmed it."""
        async with self._talking() as channel:
            if queue not in self._declared:
                await self._declare(queue)
                self._declared.add(queue)
            message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, headers=headers)
            await channel.default_exchange.publish(message, queue, timeout=self._terms.answer_s)

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection, self._channel = self._connection, None, None
            with suppress(*_TROUBLE):
                async with asyncio.timeout(self._terms.connect_s):
                    await connection.close()

    @asynccontextmanager
    async def _talking(self) -> AsyncIterator[AbstractChannel]:
        try:
            yield self._channel  # type: ignore[misc]  # None only while `open` makes it
        except _TROUBLE as error:
            raise QueueError(f"{self.name}: {error or type(error).__name__}") from error


_TROUBLE = (*CONNECTION_EXCEPTIONS, AMQPError, ChannelInvalidStateError, OSError)


def _message(delivery: Delivery) -> AbstractIncomingMessage:
    assert isinstance(delivery.handle, AbstractIncomingMessage)
    return delivery.handle


def _login_of(address: Address, password: str) -> dict[str, Any]:
    if len(address.path) > 2 or len(address.hosts) != 1:
        raise SettingsError(
            _("{source}: an address of a queue is amqp://host:port/[vhost/]queue").format(source=address.name)
        )
    ((host, port),) = address.hosts
    vhost = address.path[0] if len(address.path) == 2 else "/"
    return {
        "host": host.strip("[]"),
        "port": port or _PORTS[address.scheme],
        "login": address.user or "guest",
        "password": password or "guest",
        "virtualhost": vhost,
        "ssl": address.scheme == "amqps",
    }


def make(address: Address, terms: Terms) -> RabbitQueue:
    """See `source.GROUP`."""
    return RabbitQueue(address, terms)
