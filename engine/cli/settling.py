"""`settle`: end doubts by evidence, or by the word of the person who runs it."""

from __future__ import annotations

import getpass
from typing import Any

from engine.cli import out, pages
from engine.cli.beginning import read_settings, same_journal
from engine.cli.exits import OK, USAGE, code_of_summary
from engine.cli.progress import announcing, is_lively, showing
from engine.cli.stopping import stopping
from engine.cli.words import Common
from engine.errors import PlanError
from engine.journal.port import OpenDoubt
from engine.language import _, _n
from engine.live import Live
from engine.loop import run_in_loop
from engine.runs.beside import NOT_TAKEN, TAKEN, order_assumption
from engine.runtime import Engine

_SHOWN = 20


def settle(campaign: str, common: Common) -> int:
    """Settle by evidence: reports, and the balance once it is quiet. Exit code 4 when doubts stay open."""
    settings = read_settings(common, warns=True)
    live = announcing(Live(), common)

    async def main() -> int:
        async with Engine.open(settings, common.account) as engine, stopping(common, live) as (stop, caught):
            record = await engine.journal.find_campaign(name=campaign)
            if record is None:
                raise PlanError(
                    _("there is no campaign named {campaign!r}; `xinshi status` lists them").format(campaign=campaign)
                )
            with showing(live, is_lively(common)):
                summary = await engine.settle(record, live=live, stop=stop)
            doubts = await engine.journal.open_doubts(engine.account_key, campaign_id=record.campaign_id)
        if common.json:
            told = pages.summary_json(summary, settings.account_of(summary.account))
            out.data({**told, "doubts": [_doubt_json(doubt) for doubt in doubts]})
        elif not common.quiet:
            account = settings.account_of(summary.account)
            page = pages.summary_page(summary, words=same_journal(common), account=account)
            out.page(page + _doubts_page(campaign, doubts))
        return code_of_summary(summary, signal=caught[0] if caught else None)

    return run_in_loop(main)


def assume(campaign: str, *, batch: int | None, what: str, reason: str, common: Common) -> int:
    """Settle one batch by a person's word, which is written down with their name and reason."""
    if batch is None:
        raise PlanError(_("--assume settles one batch: name it with --batch N; `xinshi settle` lists those in doubt"))
    if not what:
        raise PlanError(
            _("--batch {batch} wants your word: --assume taken, or --assume not-taken, with a --reason").format(
                batch=batch
            )
        )
    if what not in (TAKEN, NOT_TAKEN):
        raise PlanError(_("--assume takes taken or not-taken, not {what!r}").format(what=what))
    if not reason.strip():
        raise PlanError(_("--assume wants a --reason: it is kept as the evidence, with your name"))
    settings = read_settings(common)

    async def main() -> int:
        word = await order_assumption(
            settings, common.account, campaign, seq=batch, what=what, by=getpass.getuser(), reason=reason.strip()
        )
        if common.json:
            out.data({"done": word.done, "words": word.words})
        else:
            out.page(word.words + "\n")
        return OK if word.done else USAGE

    return run_in_loop(main)


def _doubt_json(doubt: OpenDoubt) -> dict[str, Any]:
    return {"batch": doubt.seq, "recipients": doubt.size, "reason": doubt.reason, "waits_for": doubt.waits_for}


def _doubts_page(campaign: str, doubts: list[OpenDoubt]) -> str:
    if not doubts:
        return ""
    lines = [
        _n(
            "\nStill in doubt: {count} batch. A delivery report ends a doubt by itself; or, when you know:\n",
            "\nStill in doubt: {count} batches. A delivery report ends a doubt by itself; or, when you know:\n",
            len(doubts),
        ).format(count=len(doubts))
    ]
    lines.append(f"  xinshi settle {campaign} --batch N --assume taken|not-taken --reason '…'\n")
    for doubt in doubts[:_SHOWN]:
        lines.append(
            _n(
                "\n  batch {seq}, {size:,} recipient: {reason}\n    {waits_for}\n",
                "\n  batch {seq}, {size:,} recipients: {reason}\n    {waits_for}\n",
                doubt.size,
            ).format(seq=doubt.seq, size=doubt.size, reason=_(doubt.reason), waits_for=doubt.waits_for)
        )
    if len(doubts) > _SHOWN:
        lines.append(_("\n  … and {count} more (--json lists them all)\n").format(count=len(doubts) - _SHOWN))
    return "".join(lines)
