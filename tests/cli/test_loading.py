"""A command loads what it needs. Every library more is felt at every start: each line here was measured in tenths of a second."""

from __future__ import annotations

import asyncio

import pytest

from tests.cli.desk import Desk
from tests.numbers import mobile

LIBRARIES = {"aiohttp", "alembic", "lxml", "pydantic", "pydantic_settings", "python_calamine", "rich", "sqlalchemy"}
SENDING = {
    "aiohttp",
    "aiolimiter",
    "engine.cli.commands",
    "engine.cli.screening",
    "engine.dispatch.lane",
    "engine.gate",
    "engine.gateway.http",
    "engine.gateway.wire",
    "engine.intake",
    "engine.live",
    "engine.notify",
    "engine.orders.pipeline",
    "engine.orders.plans",
    "engine.patience",
    "engine.planning",
    "engine.queues",
    "engine.runtime",
    "lxml",
    "pyroaring",
    "python_calamine",
    "tenacity",
    "urllib.request",
}
"""What sends, reads lists or talks to a gateway."""
SETTLING = {"aiolimiter", "engine.dispatch.lane", "tenacity"}
"""Of these, what comes with an order to the journal's owner: it may end a doubt."""


async def loaded(desk: Desk, *words: str) -> set[str]:
    """The modules in memory when a command ends."""
    process = await desk.start(*words, flags=("-X", "importtime"))
    _, told = await asyncio.wait_for(process.communicate(), 60)
    lines = told.decode().splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


async def test_the_words_of_the_commands_load_nothing_but_themselves(desk: Desk) -> None:
    found = await loaded(desk, "--help")
    assert "engine.cli.app" in found
    assert found.isdisjoint(
        LIBRARIES | {"markdown_it", "pygments", "docstring_parser", "engine.settings", "engine.model", "asyncio"}
    )


@pytest.mark.parametrize(
    "words",
    [("status",), ("status", "spring"), ("why", mobile()), ("audit", "spring"), ("optouts", "list")],
    ids=" ".join,
)
async def test_who_only_looks_loads_nothing_that_sends(desk: Desk, words: tuple[str, ...]) -> None:
    desk.list(3)
    assert (await desk.run(*desk.order("--campaign", "spring"))).code == 0
    found = await loaded(desk, *words)
    assert {"engine.settings", "engine.journal.opening"} <= found
    assert "sqlalchemy.dialects.postgresql" not in found  # a tenth of a second, for nothing
    assert found.isdisjoint(
        SENDING - ({"engine.intake", "pyroaring", "python_calamine", *SETTLING} if "optouts" in words else set())
    )


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
async def test_an_order_loads_nothing_that_sends(desk: Desk, verb: str) -> None:
    found = await loaded(desk, verb, "spring")
    assert "engine.runs.beside" in found
    assert found.isdisjoint(SENDING - SETTLING)


async def test_asking_for_the_balance_loads_neither_journal_nor_lists(desk: Desk) -> None:
    found = await loaded(desk, "balance")
    assert "engine.gate" in found
    assert found.isdisjoint({"sqlalchemy", "engine.intake", "engine.runtime", "engine.orders.plans"})
