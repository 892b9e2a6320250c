"""Many writes, one transaction; and a write once asked for ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import Connection, event, text

from engine.errors import ClaimLost, JournalError
from engine.journal.commits import TOLD_AT_ONCE
from engine.journal.opening import _writing_engine
from engine.journal.store import SqlJournal
from engine.model import BatchState
from tests.journal.stores import (
    ACCOUNT,
    Place,
    accepted,
    claimed,
    ended,
    engine_of,
    in_this_process,
    intended,
    planned,
    reading,
    states,
    taken,
)

pytestmark = in_this_process


@contextmanager
def counted(journal: SqlJournal) -> Iterator[dict[str, int]]:
    """Count the writer's transactions by how they ended."""
    ends = {"commit": 0, "rollback": 0}

    def note(name: str) -> Callable[[Connection], None]:
        def count(_: Connection) -> None:
            ends[name] += 1

        return count

    listeners = {name: note(name) for name in ends}
    for name, listener in listeners.items():
        event.listen(engine_of(journal), name, listener)
    try:
        yield ends
    finally:
        for name, listener in listeners.items():
            event.remove(engine_of(journal), name, listener)


class Held:
    """Keeps the writer's thread busy until `let_go`, so that what is asked meanwhile gathers."""

    def __init__(self, journal: SqlJournal) -> None:
        self._journal, self._begun, self._go = journal, Event(), Event()

    def _write(self, _: Connection, items: Sequence[None]) -> list[None]:
        self._begun.set()
        self._go.wait()
        return list(items)

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._journal._commits.do(self._write, None))
        await asyncio.to_thread(self._begun.wait)

    async def __aexit__(self, *exc: object) -> None:
        self._go.set()
        await self._task


async def begun(*tasks: asyncio.Task[object]) -> None:
    """Let tasks run to their first wait."""
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


async def test_what_is_asked_while_a_group_is_written_shares_one_commit(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, *[1] * 50)
    claims = await claimed(journal, campaign_id)
    with counted(journal) as ends:
        async with Held(journal):
            intents = [asyncio.create_task(intended(journal, claim)) for claim in claims]
            read = asyncio.create_task(journal.record_reading(ACCOUNT, reading(None), campaign_id=None))
            await begun(*intents, read)
        await asyncio.gather(*intents, read)
    assert ends == {"commit": 2, "rollback": 0}  # the one that held the thread, and all the others


async def test_sixteen_workers_share_commits(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, *[1] * 160)
    claims = await claimed(journal, campaign_id, 160)

    async def work(number: int) -> None:
        for claim in claims[number::16]:
            await accepted(journal, await intended(journal, claim))

    with counted(journal) as ends:
        await asyncio.gather(*(work(number) for number in range(16)))
    assert ends["commit"] < 160  # of 320 writes
    assert set((await journal.counts(campaign_id)).states) == {BatchState.ACCEPTED}


async def test_of_a_large_group_a_few_go_on_at_a_time_and_the_loop_looks_around_in_between(journal: SqlJournal) -> None:
    many, told, seen = 3 * TOLD_AT_ONCE, 0, []

    def write(_: Connection, items: Sequence[int]) -> Sequence[int]:
        return items

    async def ask(number: int) -> int:
        nonlocal told
        result = await journal._commits.do(write, number)
        told += 1
        if number == 0:
            asyncio.get_running_loop().call_soon(lambda: seen.append(told))
        return result

    async with Held(journal):
        tasks = [asyncio.create_task(ask(number)) for number in range(many)]
        await begun(*tasks)
    assert await asyncio.gather(*tasks) == list(range(many))
    assert len(seen) == 1
    assert seen[0] < many


async def test_a_failing_member_costs_its_group_one_rollback_and_one_commit_each(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, *[1] * 4)
    claims = await claimed(journal, campaign_id)
    await journal.release(claims[:1])
    with counted(journal) as ends:
        async with Held(journal):
            intents = [asyncio.create_task(intended(journal, claim)) for claim in claims]
            await begun(*intents)
        results = await asyncio.gather(*intents, return_exceptions=True)
    assert [isinstance(result, ClaimLost) for result in results] == [True, False, False, False]
    assert ends == {"commit": 4, "rollback": 2}


async def test_a_lone_failing_write_is_not_tried_twice(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1)
    claims = await claimed(journal, campaign_id)
    await journal.release(claims)
    with counted(journal) as ends, pytest.raises(ClaimLost):
        await intended(journal, claims[0])
    assert ends == {"commit": 0, "rollback": 1}


async def test_a_cancelled_waiter_does_not_cancel_the_write(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1)
    (claim,) = await claimed(journal, campaign_id)
    async with Held(journal):
        intent = asyncio.create_task(intended(journal, claim))
        await begun(intent)
        for _ in range(3):  # one shield would not survive the second
            intent.cancel()
            await asyncio.sleep(0)
        assert not intent.done()
    with pytest.raises(asyncio.CancelledError):
        await intent
    assert states(place) == {1: "submitting"}


async def test_a_waiter_is_only_cancelled_when_the_write_is_on_the_disk(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1)
    (claim,) = await claimed(journal, campaign_id)
    intent = asyncio.create_task(intended(journal, claim))
    await begun(intent)
    intent.cancel()
    await asyncio.wait([intent])
    assert intent.cancelled()
    assert states(place) == {1: "submitting"}


async def test_a_failure_hidden_by_cancellations_is_logged_once(
    journal: SqlJournal, caplog: pytest.LogCaptureFixture
) -> None:
    campaign_id = await planned(journal, 1)
    claims = await claimed(journal, campaign_id)
    await journal.release(claims)
    async with Held(journal):
        intents = [asyncio.create_task(intended(journal, claims[0])) for _ in range(3)]
        for _ in range(2):
            for intent in intents:
                await begun(intent)
                intent.cancel()
    for intent in intents:
        with caplog.at_level(logging.ERROR), pytest.raises(asyncio.CancelledError):
            await intent
    assert [record.getMessage() for record in caplog.records] == ["a write failed while its task was being cancelled"]


async def test_closing_writes_what_has_gathered(place: Place) -> None:
    async with place.open() as journal:
        campaign_id = await planned(journal, 1, 1, 1)
        claims = await claimed(journal, campaign_id)
        async with Held(journal):
            late = [asyncio.create_task(intended(journal, claim)) for claim in claims]
            await begun(*late)
            closing = asyncio.create_task(journal.close())
            await begun(closing)
        await closing
        assert [submitted.number for submitted in await asyncio.gather(*late)] == [1, 1, 1]
        assert states(place) == {1: "submitting", 2: "submitting", 3: "submitting"}


async def test_closing_writes_what_was_asked_in_the_same_breath(place: Place) -> None:
    async with place.open() as journal:
        campaign_id = await planned(journal, 1)
        late = asyncio.create_task(claimed(journal, campaign_id))
        await begun(late)
        async with asyncio.timeout(100):
            await journal.close()
        assert [claim.seq for claim in await late] == [1]


async def test_a_closed_journal_refuses_to_write_and_can_be_closed_again(place: Place) -> None:
    async with place.open() as journal:
        campaign_id = await planned(journal, 1)
        await journal.close()
        with pytest.raises(JournalError, match="closed"):
            await claimed(journal, campaign_id)


async def test_nobody_waits_for_a_writer_that_is_gone(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1, 1)
    held = Held(journal)
    await held.__aenter__()
    late = asyncio.create_task(claimed(journal, campaign_id, 1))
    await begun(late)
    journal._commits._writing.cancel()
    async with asyncio.timeout(100):
        with pytest.raises(JournalError, match="closed"):
            await late
        with pytest.raises(JournalError, match="closed"):
            await claimed(journal, campaign_id, 1)
        with pytest.raises(JournalError, match="closed"):
            await held.__aexit__()


def add_one(connection: Connection, items: Sequence[None]) -> list[None]:
    for _ in items:
        (extra,) = connection.execute(text("SELECT extra FROM campaign")).one()
        connection.execute(text("UPDATE campaign SET extra = :more"), {"more": extra + 1})
    return list(items)


async def test_sixty_concurrent_read_modify_writes_lose_nothing(place: Place, journal: SqlJournal) -> None:
    await planned(journal, 1)
    await asyncio.gather(*(journal._commits.do(add_one, None) for _ in range(60)))
    assert place.rows("SELECT extra FROM campaign") == [{"extra": 60}]


async def test_transactions_of_several_connections_lose_nothing(tmp_path: Path, place: Place) -> None:
    async with place.open() as journal:
        await planned(journal, 1)
    engines = [_writing_engine(tmp_path / "xinshi.db", 20) for _ in range(4)]

    def work(number: int) -> None:
        for _ in range(15):
            with engines[number].begin() as connection:
                add_one(connection, [None])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    for engine in engines:
        engine.dispose()
    assert place.rows("SELECT extra FROM campaign") == [{"extra": 60}]


async def test_an_outcome_and_its_charge_are_one_transaction(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 3)
    (claim,) = await claimed(journal, campaign_id)
    submitted = await intended(journal, claim)
    with pytest.raises(JournalError, match="impossible"):
        await ended(journal, submitted, taken(3), BatchState.ACCEPTED, charge=Decimal(-3))
    assert states(place) == {1: "submitting"}
    await accepted(journal, submitted)
    assert states(place) == {1: "accepted"}
