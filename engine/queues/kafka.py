"""Kafka: a consumer group, offsets committed by hand; dead letters in NAME.dead. The door of aiokafka.

kafka[s]://[user@]host[:port][,host…]/topic?group=xinshi&sasl=PLAIN. kafkas is TLS; a user logs in with SASL.

Kafka knows no acknowledgement of one message: committed is, in each partition, how far everything is acknowledged. What was
acknowledged beyond that comes again after a restart, and the journal knows it.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from engine.errors import QueueError, SettingsError
from engine.language import _
from engine.queues.source import DEFAULT_GROUP, Address, Delivery, Terms
from engine.telemetry import logger

logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # what it says comes to us as an error

_NEVER_MS = 86_400_000
"""While the pace is the limit nothing is fetched, for hours maybe; the heartbeat alone says that we are alive."""


class KafkaTopic:
    """One topic, read as one member of a group."""

    def __init__(self, address: Address, terms: Terms) -> None:
        address.refuse_options_but("group", "sasl")
        if len(address.path) != 1:
            raise SettingsError(
                _("{source}: an address of a topic is kafka://host:port/topic").format(source=address.name)
            )
        self.name, self._terms, self._topic = address.name, terms, address.path[0]
        self._group = address.option("group", DEFAULT_GROUP)
        self._options = _options(address, terms)
        self._consumer: Any = None
        self._producer: Any = None
        self._progress: dict[TopicPartition, _Progress] = {}

    async def open(self) -> None:
        await self.close()
        self._progress = {}
        self._consumer = AIOKafkaConsumer(
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_interval_ms=_NEVER_MS,
            rebalance_timeout_ms=round(self._terms.idle_s * 1000),
            session_timeout_ms=round(self._terms.idle_s * 1000),
            heartbeat_interval_ms=round(min(3.0, self._terms.idle_s / 5) * 1000),
            **self._options,
        )
        self._consumer.subscribe([self._topic], listener=_Listener(self._progress))
        self._producer = AIOKafkaProducer(acks="all", enable_idempotence=True, **self._options)
        try:
            async with self._talking(self._terms.connect_s + self._terms.answer_s):
                await self._producer.start()
                await self._consumer.start()
        except BaseException:  # closed, then raised on: one that did not start holds tasks and sockets all the same
            await self.close()
            raise

    async def fetch(self, most: int, wait_s: float) -> Sequence[Delivery]:
        async with self._talking(wait_s + self._terms.answer_s):
            found = await self._consumer.getmany(timeout_ms=round(wait_s * 1000), max_records=most)
        deliveries = []
        for partition, records in found.items():
            progress = self._progress.setdefault(partition, _Progress())
            for record in records:
                progress.took(record.offset)
                deliveries.append(Delivery(body=record.value or b"", handle=(partition, record.offset)))
        return deliveries

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        touched = set()
        for each in deliveries:
            partition, offset = _place(each)
            if partition in self._progress:  # else it is somebody else's by now, and comes again there
                self._progress[partition].done_with(offset)
                touched.add(partition)
        offsets = {partition: self._progress[partition].position for partition in touched}
        if offsets:
            async with self._talking(self._terms.answer_s):
                with suppress(CommitFailedError, IllegalStateError):  # the partitions are being dealt out anew
                    await self._consumer.commit(offsets)

    async def nack(self, deliveries: Sequence[Delivery]) -> None:
        """Nothing to say: what is not committed comes again to whoever has the partition next."""

    async def bury(self, delivery: Delivery, reason: str) -> None:
        async with self._talking(self._terms.answer_s):
            headers = [("reason", reason.encode())]
            await self._producer.send_and_wait(f"{self._topic}.dead", delivery.body, headers=headers)
        await self.ack([delivery])

    async def publish(self, place: str, payloads: Sequence[bytes]) -> None:
        async with self._talking(self._terms.answer_s):
            sent = [await self._producer.send(place, payload) for payload in payloads]
            await asyncio.gather(*sent)

    async def close(self) -> None:
        consumer, producer = self._consumer, self._producer
        self._consumer = self._producer = None
        if consumer is not None:
            await self._ended(consumer.stop())
            # Where the broker is gone, its stop ends half way with a cancellation of its own making.
            await self._ended(consumer._client.close())  # noqa: SLF001  the library has no other way
        if producer is not None:
            await self._ended(producer.stop())

    async def _ended(self, stop: Coroutine[Any, Any, None]) -> None:
        """Whatever it comes to: a broker that is gone cannot be told good-bye."""
        stopping = asyncio.ensure_future(stop)
        await asyncio.wait((stopping,), timeout=self._terms.connect_s)
        if not stopping.done():
            stopping.cancel()
            await asyncio.wait((stopping,))
        if not stopping.cancelled() and (problem := stopping.exception()) is not None:
            logger.debug("a Kafka client did not end well", extra={"problem": str(problem)})

    @asynccontextmanager
    async def _talking(self, within_s: float) -> AsyncIterator[None]:
        """The client itself would wait for a broker for ever."""
        try:
            async with asyncio.timeout(within_s):
                yield
        except TimeoutError as error:
            raise QueueError(
                _("{source}: no answer within {seconds:g} s").format(source=self.name, seconds=within_s)
            ) from error
        except (KafkaError, OSError) as error:
            raise QueueError(f"{self.name}: {error}") from error


class _Progress:
    """How far one partition is read and acknowledged."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._next = 0

    def took(self, offset: int) -> None:
        self._open.add(offset)
        self._next = max(self._next, offset + 1)

    def done_with(self, offset: int) -> None:
        self._open.discard(offset)

    @property
    def position(self) -> int:
        """Everything below is acknowledged."""
        return min(self._open, default=self._next)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
    """Forgets what was taken from partitions that go to another member."""

    def __init__(self, progress: dict[TopicPartition, _Progress]) -> None:
        self._progress = progress

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        for partition in revoked:
            self._progress.pop(partition, None)

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """What counts begins with the first message."""


def _place(delivery: Delivery) -> tuple[TopicPartition, int]:
    assert isinstance(delivery.handle, tuple)
    partition, offset = delivery.handle
    return partition, offset


def _options(address: Address, terms: Terms) -> dict[str, Any]:
    """What consumer and producer have in common."""
    tls, logs_in = address.scheme == "kafkas", bool(address.user)
    options: dict[str, Any] = {
        "bootstrap_servers": [f"{host}:{port or 9092}" for host, port in address.hosts],
        "client_id": terms.consumer,
        "request_timeout_ms": round(terms.answer_s * 1000),
        "security_protocol": ("SASL_" if logs_in else "") + ("SSL" if tls else "PLAINTEXT"),
    }
    if tls:
        options["ssl_context"] = ssl.create_default_context()
    if logs_in:
        options |= {
            "sasl_mechanism": address.option("sasl", "PLAIN"),
            "sasl_plain_username": address.user,
            "sasl_plain_password": terms.password,
        }
    return options


def make(address: Address, terms: Terms) -> KafkaTopic:
    """See `source.GROUP`."""
    return KafkaTopic(address, terms)
