"""`track` and `optouts`: what the gateway tells afterwards, and who is not to be sent to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.cli import out, pages
from engine.cli.commands import _settings, _stopping
from engine.cli.exits import AGAIN, OK, REFUSED_BEFORE
from engine.cli.words import Common
from engine.errors import PlanError
from engine.intake import Seen, inspect, normalise, read
from engine.journal.port import OptOut, OptOutSource
from engine.live import Live
from engine.results.landing import landing
from engine.results.writers import Form, writing
from engine.runs.beside import opt_in, opt_out, opted_out
from engine.runtime import Engine, run_in_loop
from engine.tracking import Tally


def track(common: Common, *, once: bool, replay: bool) -> int:
    """Read reports and replies. Exit code 5 when the gateway refuses, 75 when something could not be read."""
    settings = _settings(common)

    async def main() -> int:
        async with Engine.open(settings, common.account) as engine, _stopping(common, Live()) as (stop, caught):
            if not once and not replay:
                out.tell(common, "Reading reports and replies; Ctrl-C ends it.\n")
            tally = await engine.track(stop, once=once, replay=replay)
            kept = await engine.journal.polls(engine.account_key)
        if common.json:
            out.data(_tally_json(tally, unread=kept.unread))
        elif not common.quiet:
            out.page(_tally_page(tally, unread=kept.unread))
        if tally.stopped:
            return REFUSED_BEFORE
        if caught:
            return 128 + caught[0]
        return AGAIN if tally.trouble or kept.unread else OK

    return run_in_loop(main())


def add(numbers: Sequence[str], reason: str, scope: str, common: Common) -> int:
    """These people get no more messages."""
    mobiles = [normalise(number) for number in numbers]
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
            common, f"{left_out:,} rows hold no mobile number, or one that stands further up; they were left out.\n"
        )
    return _record(mobiles, reason or f"imported from {file.name}", OptOutSource.IMPORT, scope, common)


def _everywhere(scope: str) -> bool:
    if scope not in ("account", "all"):
        raise PlanError(f"--scope {scope}: is neither account nor all")
    return scope == "all"


def _record(mobiles: Sequence[str], reason: str, source: OptOutSource, scope: str, common: Common) -> int:
    everywhere = _everywhere(scope)
    settings = _settings(common)

    async def main() -> int:
        new = await opt_out(settings, common.account, mobiles, reason=reason, source=source, everywhere=everywhere)
        known = len(mobiles) - new
        if common.json:
            out.data({"added": new, "known": known})
        else:
            out.page(f"{new:,} opt-outs recorded" + (f", {known:,} were known already" if known else "") + "\n")
        return OK

    return run_in_loop(main())


def remove(numbers: Sequence[str], reason: str, scope: str, common: Common) -> int:
    """These people may get messages again."""
    everywhere = _everywhere(scope)
    settings = _settings(common)
    mobiles = [normalise(number) for number in numbers]

    async def main() -> int:
        removed = await opt_in(settings, common.account, mobiles, reason=reason, everywhere=everywhere)
        left = {each.mobile for each in await opted_out(settings, common.account)}.intersection(mobiles)
        if common.json:
            out.data({"removed": removed})
        else:
            out.page(f"{removed:,} opt-outs removed\n")
        if left:
            other = "account" if everywhere else "all"
            out.tell(common, f"{len(left):,} of them have opted out all the same: with --scope {other}.\n")
        return OK

    return run_in_loop(main())


def listing(common: Common) -> int:
    """Everybody who has opted out, with full numbers: that is what is asked for."""
    settings = _settings(common)

    async def main() -> int:
        found = await opted_out(settings, common.account)
        if common.json:
            out.data([_opt_out_json(each) for each in found])
        else:
            rows = [
                (each.mobile, f"{each.at.astimezone():%Y-%m-%d %H:%M:%S}", each.source.value, _scope(each), each.reason)
                for each in found
            ]
            out.page(pages.columns(rows) if rows else "Nobody has opted out.\n")
        return OK

    return run_in_loop(main())


def export(file: Path, common: Common) -> int:
    """Everybody who has opted out, as a list that `optouts import` reads again."""
    settings = _settings(common)

    async def main() -> int:
        found = await opted_out(settings, common.account)
        rows = [(each.mobile, each.at.isoformat(), each.source.value, each.reason, _scope(each)) for each in found]
        names = ("number", "at", "source", "reason", "scope")
        with landing(file) as target, writing(Form.CSV, target, names, frozenset()) as write:
            write(rows)
        out.tell(common, f"{len(rows):,} opt-outs written\n")
        return OK

    return run_in_loop(main())


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


def _tally_json(tally: Tally, *, unread: int) -> dict[str, Any]:
    return {
        "polls": tally.asked,
        "records": tally.records,
        "new": tally.fresh,
        "opt_outs": tally.opted_out,
        "lost": tally.lost,
        "unread": unread,
        "replayed": tally.replayed,
        "stopped": tally.stopped,
        "trouble": tally.trouble,
    }


def _tally_page(tally: Tally, *, unread: int) -> str:
    lines: list[pages.Line] = [
        ("polls", tally.asked, ""),
        ("records", tally.records, f"of which {tally.fresh:,} told something new"),
        ("opt-outs", tally.opted_out, ""),
    ]
    if tally.replayed:
        lines.append(("read again", tally.replayed, "kept answers"))
    if tally.lost:
        lines.append(("polls lost", tally.lost, "what their answers held is gone"))
    if unread:
        lines.append(("not readable", unread, "answers are kept; after a fix: xinshi track --replay"))
    lines += [(f"{kind}s", f"no longer asked for: {reason}", "") for kind, reason in tally.stopped.items()]
    lines += [(f"{kind}s", reason, "") for kind, reason in tally.trouble.items()]
    return pages.grid(lines)
