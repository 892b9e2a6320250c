"""The pool's tests run over a real journal in a temporary folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.journal.store import SqlJournal
from tests.journal.stores import SqlitePlace


@pytest.fixture
def place(tmp_path: Path) -> SqlitePlace:
    return SqlitePlace(tmp_path)


@pytest.fixture
async def journal(place: SqlitePlace) -> AsyncIterator[SqlJournal]:
    async with place.open() as journal:
        yield journal
