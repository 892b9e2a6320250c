"""`track`: read reports and replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.cli import out, pages
from engine.cli.beginning import read_settings
from engine.cli.exits import AGAIN, OK, REFUSED_BEFORE
from engine.cli.stopping import stopping
from engine.cli.words import Common
from engine.language import _
from engine.ledger.summary import CampaignSummary
from engine.live import Live
from engine.loop import run_in_loop
from engine.runs.looking import status as look
from engine.runtime import Engine
from engine.terms import kind_of
from engine.tracking import Tally


def track(common: Common, *, once: bool, replay: bool) -> int:
    """Read reports and replies. Exit code 5 when the gateway refuses, 75 when something could not be read."""
    settings = read_settings(common)

    async def main() -> int:
        async with Engine.open(settings, common.account) as engine, stopping(common, Live()) as (stop, caught):
            if not once and not replay:
                out.tell(common, _("Reading reports and replies; Ctrl-C ends it.\n"))
            tally = await engine.track(stop, once=once, replay=replay)
            kept = await engine.journal.polls(engine.account_key)
            joined = _joined(
                [each for each in await look(settings, None) if each.account == engine.account_key],
                unjoined=await engine.journal.unjoined(engine.account_key),
            )
        if common.json:
            out.data(_tally_json(tally, joined, unread=kept.unread))
        elif not common.quiet:
            out.page(_tally_page(tally, joined, unread=kept.unread))
        if tally.stopped:
            return REFUSED_BEFORE
        if caught:
            return 128 + caught[0]
        return AGAIN if tally.trouble or kept.unread else OK

    return run_in_loop(main)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What the account's accepted messages have for reports by now. `overdue` of the unreported are no longer waited for."""

    delivered: int
    undelivered: int
    unreported: int
    overdue: int
    unjoined: int  # reports of no message in this journal


def _joined(campaigns: Sequence[CampaignSummary], *, unjoined: int) -> Joined:
    return Joined(
        delivered=sum(each.delivery.delivered for each in campaigns),
        undelivered=sum(each.delivery.undelivered for each in campaigns),
        unreported=sum(each.unreported for each in campaigns),
        overdue=sum(each.delivery.overdue for each in campaigns),
        unjoined=unjoined,
    )


def _missing_words(joined: Joined) -> str:
    if not joined.unreported:
        return _("messages without a final report")
    if joined.overdue:
        return _("messages without a final report; {overdue:,} of them no longer waited for").format(
            overdue=joined.overdue
        )
    return _("messages without a final report; it may still come")


def _tally_json(tally: Tally, joined: Joined, *, unread: int) -> dict[str, Any]:
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
        "delivery": {
            "delivered": joined.delivered,
            "undelivered": joined.undelivered,
            "unreported": joined.unreported,
            "overdue": joined.overdue,
            "unjoined": joined.unjoined,
        },
    }


def _tally_page(tally: Tally, joined: Joined, *, unread: int) -> str:
    lines: list[pages.Line] = [
        (_("asked"), tally.asked, _("requests to the gateway")),
        (_("read"), tally.records, _("reports and replies")),
        ("  " + _("new"), tally.fresh, _("of them told something that was not known yet")),
        (_("opt-outs"), tally.opted_out, _("new ones, by replies")),
        (_("joined"), joined.delivered + joined.undelivered, _("messages of this account have their final report")),
        ("  " + _("delivered"), joined.delivered, ""),
        ("  " + _("undelivered"), joined.undelivered, ""),
        (_("missing"), joined.unreported, _missing_words(joined)),
    ]
    if joined.unjoined:
        lines.append(
            (
                _("not ours"),
                joined.unjoined,
                _("reports of no message in this journal: sent from elsewhere, or in doubt"),
            )
        )
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
    lines += [(kind_of(kind), _(reason), "") for kind, reason in tally.trouble.items()]
    return pages.grid(lines)
