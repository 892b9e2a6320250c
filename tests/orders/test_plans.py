"""A plan on its way into the journal."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.journal.opening import open_journal
from engine.orders.plans import _Unseen
from tests.journal.stores import draft


async def test_a_plan_that_is_cancelled_while_it_begins_is_discarded_and_its_name_is_free(tmp_path: Path) -> None:
    journal = await open_journal(tmp_path / "xinshi.db")
    try:
        cancelled = _Unseen(journal, draft())
        beginning = asyncio.create_task(cancelled.begin())
        await asyncio.sleep(0)  # it waits for the disk now
        beginning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await beginning
        await cancelled.discard()

        await _Unseen(journal, draft()).begin()
    finally:
        await journal.close()
