"""The commands that ask the gateway, and send nothing."""

from __future__ import annotations

import asyncio

from engine.cli import out, pages
from engine.cli.beginning import read_settings
from engine.cli.exits import OK, SOME_REFUSED, code_of_error
from engine.cli.texts import STANDARD_INPUT, read_text
from engine.cli.words import Common
from engine.errors import EngineError
from engine.gate import Gate
from engine.loop import run_in_loop
from engine.model import Balance
from engine.settings import Settings


def balance(common: Common, *, every: bool = False) -> int:
    """The points left; of `every` account of the settings, or of one."""
    settings = read_settings(common)
    if every:
        return run_in_loop(lambda: _balances(settings, common))

    async def main() -> int:
        async with Gate.open(settings, common.account) as gate:
            found = await gate.balance()
        if common.json:
            out.data(pages.balance_json(found))
        else:
            out.page(pages.balance_page(found))
        return OK

    return run_in_loop(main)


async def _balances(settings: Settings, common: Common) -> int:
    """Every account is asked at once; what one cannot say keeps none of the others back."""

    async def ask(name: str) -> Balance | EngineError:
        try:
            async with Gate.open(settings, name) as gate:
                return await gate.balance()
        except EngineError as error:
            return error

    names = list(settings.accounts)
    told = dict(zip(names, await asyncio.gather(*map(ask, names)), strict=True))
    if common.json:
        out.data(pages.balances_json(told))
    else:
        out.page(pages.balances_page(told))
    codes = [code_of_error(each) for each in told.values() if isinstance(each, EngineError)]
    return codes[0] if codes else OK


def keywords(text: str, common: Common) -> int:
    """What the gateway says about a text. Exit code 3 when it found forbidden words."""
    settings = read_settings(common)
    asked = read_text(STANDARD_INPUT) if text == "-" else text

    async def main() -> int:
        async with Gate.open(settings, common.account) as gate:
            answer = await gate.check_keywords(asked)
        if common.json:
            out.data({"verdict": answer.verdict.value, "message": answer.message})
        else:
            out.page(pages.keywords_line(answer.verdict.value, answer.message))
        return OK if answer.verdict.value != "forbidden" else SOME_REFUSED

    return run_in_loop(main)
