"""What comes out the same for every command is done once, in the process that they are forked from.

The parser builds itself from the commands' annotations, SQLAlchemy compiles statements, modules are loaded when they are
first wanted: more than half of what a short command takes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

from cyclopts import App

import tests.compiled  # noqa: F401  what is compiled here is compiled for all
from engine import library
from engine.cli import app
from engine.language import spoken
from engine.simulator import Simulator, SimulatorSettings
from tests.numbers import mobiles


def warm() -> None:
    """Build the parser and send a campaign. Leaves nothing behind that runs or is open."""
    _build_the_parser()
    asyncio.run(_send())


def _build_the_parser() -> None:
    """For the language most tests speak; a command that speaks another one builds its own."""
    made, read = app.made, list(_annotations())
    english = made()
    english.parse_args(["send", "list.csv", "--text", "【甲】乙", "--yes"], exit_on_error=False, print_error=False)

    def built() -> App:
        if spoken() != "en":
            return made()
        for annotated, hints in read:
            annotated.__annotations__ = hints
        return english

    app.made = built


def _annotations() -> Iterator[tuple[Any, dict[str, Any]]]:
    """What the commands take, and what stands in that. These are texts, each of which is compiled for every command."""
    for _names, function, _how in app.COMMANDS.written:
        hints = get_type_hints(function, include_extras=True)
        yield function, hints
        for hint in hints.values():
            if isinstance(hint, type) and dataclasses.is_dataclass(hint):
                yield hint, get_type_hints(hint, include_extras=True)


async def _send() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Simulator(SimulatorSettings(seed=1)) as sim:
            settings = {
                "account.url": sim.url,
                "account.password": "demo",
                "journal.url": Path(folder) / "xinshi.db",
                "tracking.report_interval_s": 0.1,
            }
            async with library.open(settings=settings, environ={"HOME": folder, "XDG_STATE_HOME": folder}) as xinshi:
                rows = [{"手机号": number} for number in mobiles(3)]
                campaign = await xinshi.plan(rows, text="【甲】乙")
                async for _event in campaign.events():
                    pass
                await campaign.summary()
