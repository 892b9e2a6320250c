"""The commands that look into a journal or give its owner an order. They load neither the gateway nor the planning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from engine.cli import out, pages
from engine.cli.beginning import read_settings, same_journal
from engine.cli.exits import AGAIN, INTERNAL, OK
from engine.cli.traces import number_json, number_page
from engine.cli.words import Common
from engine.errors import PlanError
from engine.language import _
from engine.ledger.summary import CampaignSummary
from engine.loop import run_in_loop
from engine.model import CampaignState
from engine.runs.looking import is_waited_with, standing
from engine.runs.looking import status as look
from engine.runs.looking import why as look_for

if TYPE_CHECKING:
    from engine.ledger.audit import Truth
    from engine.settings import Settings


def status(campaign: str | None, common: Common) -> int:
    """One campaign in full, or all in a table."""
    settings = read_settings(common)
    found: list[CampaignSummary] = []
    now: list[str] = []
    waits: list[bool] = []

    async def main() -> int:
        found.extend(await look(settings, campaign))
        if campaign is None or common.json:
            return OK
        if found[0].state is CampaignState.RUNNING:
            now.append(await standing(settings, campaign))
        waits.append(found[0].state is CampaignState.PAUSED and await is_waited_with(settings, campaign))
        return OK

    run_in_loop(main)
    if common.json:
        told = [pages.summary_json(each, settings.account_of(each.account)) for each in found]
        out.data(told[0] if campaign is not None else told)
    elif campaign is not None:
        account = settings.account_of(found[0].account)
        out.page(pages.summary_page(found[0], words=same_journal(common), account=account, waits=any(waits)))
        if any(now):
            out.page(_("Now: {now}.\n").format(now=now[0]))
    else:
        names = _account_names(settings)
        out.page(pages.campaigns_page(found, journal=settings.journal_path, accounts=names))
    return OK


def _account_names(settings: Settings) -> dict[str, str]:
    """What the settings call each login; where one has two names, the first of them."""
    return {account.account_key: account.name for account in reversed([*settings.accounts.values()])}


def audit(campaign: str, truth_url: str | None, common: Common) -> int:
    """The laws, one by one. Exit code 1 when one is broken."""
    from engine.runs.auditing import audit_campaign

    settings = read_settings(common)
    truth = None if truth_url is None else _truth(truth_url)

    async def main() -> int:
        found = await audit_campaign(settings, common.account, campaign, truth=truth)
        if common.json:
            out.data(pages.audit_json(found))
        else:
            out.page(pages.audit_page(found))
        return OK if found.all_hold else INTERNAL

    return run_in_loop(main)


def _truth(url: str) -> Truth:
    """What a simulator on loopback says it accepted."""
    import urllib.request

    from engine.ledger.audit import Truth

    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/_simulator/truth", timeout=60) as answer:  # noqa: S310
            said = json.load(answer)
        return Truth(mobiles=said["mobiles"], charges=Decimal(str(said["charges"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlanError(
            _("--truth {url}: no simulator answers there ({error})").format(url=url, error=error)
        ) from error


def why(number: str, common: Common) -> int:
    """What is known of one number."""
    settings = read_settings(common)

    async def main() -> int:
        found = await look_for(settings, number)
        names = _account_names(settings)
        if common.json:
            out.data(number_json(found, names))
        else:
            out.page(number_page(found, names, with_texts=common.verbose > 0))
        return OK

    return run_in_loop(main)


def steer(verb: str, campaign: str, common: Common, words: Sequence[str] = ()) -> int:
    """Pause, resume, cancel or pace: through the process that owns the journal, or directly."""
    from engine.runs.beside import order_owner

    settings = read_settings(common)

    async def main() -> int:
        word = await order_owner(settings, verb, campaign, words)
        if common.json:
            out.data({"done": word.done, "words": word.words})
        else:
            out.page(word.words + "\n")
        return OK if word.done else AGAIN

    return run_in_loop(main)
