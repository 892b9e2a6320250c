"""One suite over every store: a test asks for `place` (where journals lie) or `journal` (one that is open)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.journal.store import SqlJournal
from tests.journal.stores import ApartPlace, Place, SqlitePlace

STORES = [pytest.param(SqlitePlace, id="sqlite"), pytest.param(ApartPlace, id="apart")]


@pytest.fixture(params=STORES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with request.param(tmp_path) as place:
        yield place


@pytest.fixture
async def journal(place: Place) -> AsyncIterator[SqlJournal]:
    async with place.open() as journal:
        yield journal
