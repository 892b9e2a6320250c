"""`track` and `optouts`: what the gateway tells afterwards, and who is not to be sent to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.beside import opt_in, opt_out, opted_out
from engine.cli import out, pages
from engine.cli.commands import _settings, _stopping
from engine.cli.exits import AGAIN, OK, REFUSED_BEFORE
from engine.cli.words import Common
from engine.intake import Seen, inspect, normalise, read
from engine.journal.port import OptOut, OptOutSource
from engine.live import Live
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


def add(numbers: Sequence[str], reason: str, common: Common) -> int:
    """These people get no more messages."""
    mobiles = [normalise(number) for number in numbers]
    return _record(mobiles, reason, OptOutSource.OPERATOR, common)


def import_(file: Path, column: str | None, reason: str, common: Common) -> int:
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
    return _record(mobiles, reason or f"imported from {file.name}", OptOutSource.IMPORT, common)


def _record(mobiles: Sequence[str], reason: str, source: OptOutSource, common: Common) -> int:
    settings = _settings(common)

    async def main() -> int:
        new = await opt_out(settings, common.account, mobiles, reason=reason, source=source)
        known = len(mobiles) - new
        if common.json:
            out.data({"added": new, "known": known})
        else:
            out.page(f"{new:,} opt-outs recorded" + (f", {known:,} were known already" if known else "") + "\n")
        return OK

    return run_in_loop(main())


def remove(numbers: Sequence[str], common: Common) -> int:
    """These people may get messages again."""
    settings = _settings(common)
    mobiles = [normalise(number) for number in numbers]

    async def main() -> int:
        removed = await opt_in(settings, common.account, mobiles)
        if common.json:
            out.data({"removed": removed})
        else:
            out.page(f"{removed:,} opt-outs removed\n")
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
                (each.mobile, f"{each.at.astimezone():%Y-%m-%d %H:%M:%S}", each.source.value, each.reason)
                for each in found
            ]
            out.page(pages.columns(rows) if rows else "Nobody has opted out.\n")
        return OK

    return run_in_loop(main())


def _opt_out_json(each: OptOut) -> dict[str, Any]:
    return {
        "number": each.mobile,
        "at": each.at.isoformat(),
        "reason": each.reason,
        "source": each.source.value,
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
