"""`optouts`: who is not to be sent to."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.cli import out, pages
from engine.cli.beginning import read_settings
from engine.cli.exits import OK
from engine.cli.words import Common
from engine.errors import BadRecipient, PlanError
from engine.intake import Seen, inspect, read
from engine.journal.port import OptOut, OptOutSource
from engine.language import _, _n
from engine.loop import run_in_loop
from engine.moments import when, zone_words
from engine.numbers import normalise
from engine.results.landing import landing
from engine.results.writers import Form, writing
from engine.runs.beside import opt_in, opt_out
from engine.runs.looking import opted_out


def add(numbers: Sequence[str], reason: str, scope: str, common: Common) -> int:
    """These people get no more messages."""
    mobiles = [_mobile(number) for number in numbers]
    return _record(mobiles, reason, OptOutSource.OPERATOR, scope, common)


def import_(file: Path, column: str | None, reason: str, scope: str, common: Common) -> int:
    """Everybody in a list gets no more messages."""
    listed = inspect(file, column=column)
    mobiles, left_out = [], 0
    for chunk in read(listed, seen=Seen()):
        mobiles += chunk.mobiles
        left_out += len(chunk.excluded)
    if left_out:
        out.tell(
            common,
            _("{left_out:,} rows hold no mobile number, or one that stands further up; they were left out.\n").format(
                left_out=left_out
            ),
        )
    return _record(
        mobiles, reason or _("imported from {name}").format(name=file.name), OptOutSource.IMPORT, scope, common
    )


def _mobile(number: str) -> str:
    """Raises BadRecipient, which says of which number."""
    try:
        return normalise(number)
    except BadRecipient as problem:
        raise BadRecipient(f"{number}: {problem}") from problem


def _everywhere(scope: str) -> bool:
    if scope not in ("account", "all"):
        raise PlanError(_("--scope {scope}: is neither account nor all").format(scope=scope))
    return scope == "all"


def _record(mobiles: Sequence[str], reason: str, source: OptOutSource, scope: str, common: Common) -> int:
    everywhere = _everywhere(scope)
    settings = read_settings(common)

    async def main() -> int:
        new = await opt_out(settings, common.account, mobiles, reason=reason, source=source, everywhere=everywhere)
        known = len(mobiles) - new
        if common.json:
            out.data({"added": new, "known": known})
        else:
            out.page(pages.recorded_line(new, known))
        return OK

    return run_in_loop(main)


def remove(numbers: Sequence[str], reason: str, scope: str, common: Common) -> int:
    """These people may get messages again."""
    everywhere = _everywhere(scope)
    settings = read_settings(common)
    mobiles = [_mobile(number) for number in numbers]

    async def main() -> int:
        removed = await opt_in(settings, common.account, mobiles, reason=reason, everywhere=everywhere)
        left = {each.mobile for each in await opted_out(settings, common.account)}.intersection(mobiles)
        if common.json:
            out.data({"removed": removed})
        else:
            out.page(
                _n("{removed:,} opt-out removed\n", "{removed:,} opt-outs removed\n", removed).format(removed=removed)
            )
        if left:
            other = "account" if everywhere else "all"
            out.tell(
                common,
                _("{count:,} of them have opted out all the same: with --scope {other}.\n").format(
                    count=len(left), other=other
                ),
            )
        return OK

    return run_in_loop(main)


def listing(common: Common) -> int:
    """Everybody who has opted out, with full numbers: that is what is asked for."""
    settings = read_settings(common)

    async def main() -> int:
        found = await opted_out(settings, common.account)
        if common.json:
            out.data([_opt_out_json(each) for each in found])
        else:
            heads = (_("number"), _("since, {zone}").format(zone=zone_words()), _("source"), _("scope"), _("reason"))
            rows = [(each.mobile, when(each.at), each.source.value, _scope(each), each.reason) for each in found]
            out.page(pages.columns([heads, *rows]) if rows else _("Nobody has opted out.\n"))
        return OK

    return run_in_loop(main)


def export(file: Path, common: Common) -> int:
    """Everybody who has opted out, as a list that `optouts import` reads again."""
    settings = read_settings(common)

    async def main() -> int:
        found = await opted_out(settings, common.account)
        rows = [(each.mobile, when(each.at), each.source.value, each.reason, _scope(each)) for each in found]
        names = ("number", "at", "source", "reason", "scope")
        with suppress(BrokenPipeError):  # who reads it has seen enough (`| head`), and nothing more is said
            with landing(file) as target, writing(Form.CSV, target, names, frozenset()) as write:
                write(rows)
            words = _n("{count:,} opt-out written\n", "{count:,} opt-outs written\n", len(rows))
            out.tell(common, words.format(count=len(rows)))
        return OK

    return run_in_loop(main)


def _scope(each: OptOut) -> str:
    return "all" if each.everywhere else "account"


def _opt_out_json(each: OptOut) -> dict[str, Any]:
    return {
        "number": each.mobile,
        "at": each.at.isoformat(),
        "reason": each.reason,
        "source": each.source.value,
        "scope": _scope(each),
    }
