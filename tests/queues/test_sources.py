"""One meaning over three brokers: every test here runs on each that this machine can start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from engine.errors import QueueError
from engine.queues import Delivery, Source, Terms, open_source
from engine.queues.source import parse_address
from tests.queues.brokers import Broker

IDLE_S = 1.0
BODIES = [f"m{at}".encode() for at in range(10)]


def made(broker: Broker, queue: str, *, consumer: str = "me", ahead: int = 500) -> Source:
    terms = Terms(consumer=consumer, ahead=ahead, idle_s=IDLE_S, connect_s=2.0, answer_s=2.0)
    return open_source(parse_address(broker.url(queue)), terms)


@asynccontextmanager
async def opened(broker: Broker, queue: str, *, consumer: str = "me", ahead: int = 500) -> AsyncIterator[Source]:
    source = made(broker, queue, consumer=consumer, ahead=ahead)
    await source.open()
    try:
        yield source
    finally:
        await source.close()


async def fetched(source: Source, count: int, *, within_s: float = 100.0) -> list[Delivery]:
    """So many messages, in however many parts they come."""
    found: list[Delivery] = []
    async with asyncio.timeout(within_s):
        while len(found) < count:
            found += await source.fetch(count - len(found), 0.2)
    return found


def bodies(deliveries: Sequence[Delivery]) -> list[bytes]:
    return sorted(each.body for each in deliveries)


async def back(source: Source) -> None:
    """Connect again to a broker that was away."""
    async with asyncio.timeout(100):
        while True:
            try:
                return await source.open()
            except QueueError:
                await asyncio.sleep(0.1)


async def test_everything_produced_is_fetched_once(broker: Broker, queue: str) -> None:
    await broker.produce(queue, BODIES)
    async with opened(broker, queue) as source:
        assert bodies(await fetched(source, 10)) == BODIES
        assert await source.fetch(10, 0.3) == []


async def test_no_more_is_fetched_than_asked_for(broker: Broker, queue: str) -> None:
    await broker.produce(queue, BODIES)
    async with opened(broker, queue) as source:
        first = await source.fetch(3, 5.0)
        assert 1 <= len(first) <= 3
        assert bodies([*first, *await fetched(source, 10 - len(first))]) == BODIES


async def test_what_is_acknowledged_never_comes_again(broker: Broker, queue: str) -> None:
    await broker.produce(queue, BODIES)
    async with opened(broker, queue) as source:
        await source.ack(await fetched(source, 10))
    assert await broker.unacknowledged(queue) == 0
    async with opened(broker, queue) as source:
        assert await source.fetch(10, 0.5) == []


async def test_what_is_not_acknowledged_comes_again_to_the_next_run(broker: Broker, queue: str) -> None:
    await broker.produce(queue, BODIES)
    async with opened(broker, queue) as source:
        await fetched(source, 10)
    async with opened(broker, queue) as source:
        assert bodies(await fetched(source, 10)) == BODIES


async def test_what_is_given_back_comes_again(broker: Broker, queue: str) -> None:
    await broker.produce(queue, BODIES)
    async with opened(broker, queue) as source:
        await source.nack(await fetched(source, 10))
    async with opened(broker, queue) as source:
        await source.ack(await fetched(source, 10))
    assert await broker.unacknowledged(queue) == 0


async def test_acknowledged_out_of_order_nothing_before_it_is_lost(broker: Broker, queue: str) -> None:
    await broker.produce(queue, BODIES)
    async with opened(broker, queue) as source:
        late, early = [], []
        for each in await fetched(source, 10):
            (early if each.body in BODIES[:3] else late).append(each)
        await source.ack(late)
    async with opened(broker, queue) as source:
        again = await fetched(source, 3)
        assert set(BODIES[:3]) <= {each.body for each in [*again, *await source.fetch(10, 0.5)]}


async def test_what_a_dead_consumer_left_comes_to_another(broker: Broker, queue: str) -> None:
    await broker.produce(queue, BODIES)
    dead = made(broker, queue, consumer="dead")
    await dead.open()
    assert len(await fetched(dead, 10)) == 10
    await dead.close()  # it acknowledges nothing, and never comes back
    async with opened(broker, queue, consumer="alive") as source:
        assert bodies(await fetched(source, 10)) == BODIES


async def test_a_bad_message_lies_in_the_dead_letters_with_its_reason(broker: Broker, queue: str) -> None:
    await broker.produce(queue, [b"{", b"good"])
    async with opened(broker, queue) as source:
        for each in await fetched(source, 2):
            await (source.bury(each, "not JSON 信") if each.body == b"{" else source.ack([each]))
    assert await broker.held(queue + broker.dead) == [(b"{", "not JSON 信")]
    assert await broker.unacknowledged(queue) == 0


async def test_what_is_told_is_in_its_place(broker: Broker, queue: str) -> None:
    async with opened(broker, queue) as source:
        await source.publish(f"{queue}-told", BODIES)
    assert sorted(body for body, _ in await broker.held(f"{queue}-told")) == BODIES


async def test_a_broker_that_is_away_is_told_of_and_its_messages_come_again(broker: Broker, queue: str) -> None:
    await broker.produce(queue, BODIES)
    async with opened(broker, queue) as source:
        held = await fetched(source, 10)
        await asyncio.to_thread(broker.stop)
        with pytest.raises(QueueError):
            await source.ack(held)
        with pytest.raises(QueueError):
            await source.open()
        await asyncio.to_thread(broker.start)
        await back(source)
        again = await fetched(source, 10)
        assert bodies(again) == BODIES
        await source.ack(again)
    assert await broker.unacknowledged(queue) == 0


async def test_an_error_holds_no_password(broker: Broker, queue: str) -> None:
    address = parse_address(broker.url(queue).replace("://", "://somebody@"))
    source = open_source(address, Terms(consumer="me", password="secret", connect_s=2.0, answer_s=2.0, idle_s=IDLE_S))
    with pytest.raises(QueueError) as caught:
        await source.open()
    await source.close()
    assert "secret" not in str(caught.value)
