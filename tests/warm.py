"""What comes out the same for every command is done once, in the process that they are forked from.

The parser builds itself from the commands' annotations, SQLAlchemy compiles statements, modules are loaded when they are
first wanted: more than half of what a short command takes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, get_args, get_type_hints

import cyclopts.core
from cyclopts import App

import tests.compiled  # noqa: F401  what is compiled here is compiled for all
from engine import library
from engine.cli import app
from engine.language import VARIABLE, Language, speaking, spoken
from engine.simulator import Simulator, SimulatorSettings
from tests.numbers import mobiles


def warm() -> None:
    """Build the parsers and send a campaign. Leaves nothing behind that runs or is open."""
    _build_the_parsers()
    asyncio.run(_send())


_parsers: dict[Language, App] = {}
_arguments: dict[int, Any] = {}
_hints: dict[int, tuple[Any, dict[str, Any]]] = {}
_work_out = cyclopts.core._safe_assemble_argument_collection


def _build_the_parsers() -> None:
    """One for each language."""
    for language in get_args(Language):
        with speaking(language):
            _parsers[language] = app.made()

    def built() -> App:
        for annotated, hints in _hints.values():
            annotated.__annotations__ = hints
        return _parsers[spoken()]

    app.made, cyclopts.core._safe_assemble_argument_collection = built, _worked_out


def prepare(words: Sequence[str], environ: Mapping[str, str]) -> None:
    """Work out what this command takes, which is most of what its parser does; before the first of its kind."""
    language = environ.get(VARIABLE)
    parser = _parsers["zh" if language == "zh" else "en"]
    _chain, above, *_rest = parser._parse_commands(list(words), include_parent_meta=True)
    command = above[-1]
    if id(command) in _arguments or not isinstance(command.default_command, FunctionType):
        return
    with parser.app_stack(above):
        _arguments[id(command)] = _work_out(command)
    for annotated in _annotated(command.default_command):
        _hints[id(annotated)] = (annotated, get_type_hints(annotated, include_extras=True))


def _worked_out(command: App) -> Any:
    """Once: the parser fills in what was said."""
    return _arguments.pop(id(command)) if id(command) in _arguments else _work_out(command)


def _annotated(function: FunctionType) -> Iterator[Any]:
    """A command, and what it takes. The annotations are texts, each of which would be compiled for every command."""
    yield function
    yield from filter(dataclasses.is_dataclass, get_type_hints(function).values())


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
