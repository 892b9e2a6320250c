"""`track`: read reports and replies."""

from __future__ import annotations

from typing import Any

from engine.cli import out, pages
from engine.cli.beginning import read_settings
from engine.cli.commands import _stopping
from engine.cli.exits import AGAIN, OK, REFUSED_BEFORE
from engine.cli.words import Common
from engine.language import _
from engine.live import Live
from engine.loop import run_in_loop
from engine.runtime import Engine
from engine.terms import kind_of
from engine.tracking import Tally


def track(common: Common, *, once: bool, replay: bool) -> int:
    """Read reports and replies. Exit code 5 when the gateway refuses, 75 when something could not be read."""
    settings = read_settings(common)

    async def main() -> int:
        async with Engine.open(settings, common.account) as engine, _stopping(common, Live()) as (stop, caught):
            if not once and not replay:
                out.tell(common, _("Reading reports and replies; Ctrl-C ends it.\n"))
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
        (_("polls"), tally.asked, ""),
        (_("records"), tally.records, _("of which {fresh:,} told something new").format(fresh=tally.fresh)),
        (_("opt-outs"), tally.opted_out, ""),
    ]
    if tally.replayed:
        lines.append((_("read again"), tally.replayed, _("kept answers")))
    if tally.lost:
        lines.append((_("polls lost"), tally.lost, _("what their answers held is gone")))
    if unread:
        lines.append((_("not readable"), unread, _("answers are kept; after a fix: xinshi track --replay")))
    lines += [
        (kind_of(kind), _("no longer asked for: {reason}").format(reason=reason), "")
        for kind, reason in tally.stopped.items()
    ]
    lines += [(kind_of(kind), reason, "") for kind, reason in tally.trouble.items()]
    return pages.grid(lines)
