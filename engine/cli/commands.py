"""One function a command: settings in, one call of the engine, a page or JSON out, an exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.cli import out, pages
from engine.cli.asking import YES, read_line
from engine.cli.beginning import read_settings, same_journal
from engine.cli.exits import OK, REFUSED_BEFORE, SOME_REFUSED, code_of_summary
from engine.cli.progress import announcing, is_lively, showing
from engine.cli.screening import (
    AGAIN_HINT,
    explained_json,
    explained_page,
    refuse_repeats,
    repeats,
    with_kind,
)
from engine.cli.stopping import stopping
from engine.cli.texts import STANDARD_INPUT, text_of
from engine.cli.words import Common, Order
from engine.clock import wall_time
from engine.dispatch.schedule import date_words
from engine.dispatch.waiting import unless_set
from engine.errors import PlanError
from engine.gate import Gate
from engine.intake.kept import kept_folder
from engine.journal.port import CampaignCounts
from engine.language import _, _n
from engine.ledger.points import ZERO
from engine.ledger.summary import CampaignSummary
from engine.live import Live, Stop
from engine.loop import run_in_loop
from engine.model import BatchState
from engine.numbers import normalise
from engine.orders.pipeline import Pipeline
from engine.orders.plans import Plan, SendOrder, explain_campaign, preview
from engine.orders.signing import keep_parts
from engine.patience import Sending, opened, planned
from engine.runtime import Engine
from engine.settings import Settings
from engine.trial import plan_trial, refuse_failed

_OVER = {BatchState.ACCEPTED, BatchState.REFUSED, BatchState.CANCELLED, BatchState.EXPIRED, BatchState.SPLIT}


def plan(files: Sequence[Path], order: Order, common: Common, reading: Pipeline) -> int:
    """The preview."""
    settings = read_settings(common, order)
    wanted = _order(files, order)
    live = announcing(Live(), common)
    made: list[Plan] = []

    async def main() -> int:
        async with stopping(common, live) as (stop, caught):
            with showing(live, is_lively(common)):
                found = await unless_set(stop.gently, preview(settings, common.account, wanted, reading, live))
        if found is None:
            reading.end()
            return 128 + caught[0]
        made.append(found)
        await asyncio.to_thread(keep_parts, settings.journal_path, found.plan_hash, found.parts)
        return OK

    code = run_in_loop(main)
    if made and common.json:
        out.data(pages.plan_json(made[0]))
    elif made:
        out.page(pages.plan_page(made[0]))
        again = repeats(made[0], settings, again=order.again)
        out.tell(common, pages.plan_hint(made[0]) + (_(AGAIN_HINT) if again else ""))
    return code


def send(
    files: Sequence[Path], order: Order, common: Common, reading: Pipeline, *, yes: bool, signed: str | None
) -> int:
    """Plan, confirm, run; or go on with the campaign this order already is."""
    if order.dry_run and order.test:
        raise PlanError(_("--dry-run sends nothing, and --test sends something; leave one of them away"))
    nobody_there = not sys.stdin.isatty() or STANDARD_INPUT in files
    if not yes and signed is None and not order.dry_run and nobody_there:
        raise PlanError(_("there is nobody to ask here; add --yes, or --plan HASH with the hash `xinshi plan` prints"))
    settings = with_kind(
        read_settings(common, order), order, common, asks=not yes and signed is None and not nobody_there
    )
    wanted = _order(files, order, signed)
    test = [normalise(number) for number in order.test]
    live = announcing(Live(), common)

    async def main() -> int:
        opening = opened(settings, common.account, waits=order.wait, announce=_telling(common), apart=True)
        async with opening as engine, stopping(common, live, engine) as (stop, caught):
            made: Plan | None = None
            if order.dry_run:
                tried = await unless_set(stop.gently, _rehearsed(engine, wanted, common, reading, live))
                return 128 + caught[0] if tried is None else tried
            record = await unless_set(stop.gently, engine.known(wanted, reading))
            if record is not None:
                out.tell(common, _known_already(record.name, wanted, await engine.journal.counts(record.campaign_id)))
            elif not caught:
                asks = not yes and signed is None
                agreed = _agreed_plan(engine, wanted, common, reading, live, stop, test=test, asks=asks)
                if (made := await unless_set(stop.gently, agreed)) is not None:
                    record = made.added_to if not made.tally.recipients else await engine.publish(made)
            if record is None:
                reading.end()
                out.tell(common, _("Nothing was sent; no campaign was made.\n"))
                return 128 + caught[0] if caught else REFUSED_BEFORE
            reserved = ZERO if made is None or wanted.ignore_reserve else made.reserved_points
            if made is not None and made.added_to is None:
                reading.ask_whom()
            if settings.results.keep_lists != "none":
                reading.keep(kept_folder(settings.journal_path), files=settings.results.keep_lists == "all")
            with showing(live, is_lively(common)):
                sending = Sending(
                    engine=engine,
                    live=live,
                    stop=stop,
                    allow_partial=wanted.allow_partial,
                    reserved=reserved,
                    whom=reading.whom,
                )
                summary = await sending.run(record, limit=wanted.limit, waits=wanted.waits)
            if problem := await asyncio.to_thread(reading.kept):
                out.tell(common, _("Note: no copy of the list is kept: {problem}\n").format(problem=problem))
        return _finish(summary, common, settings, caught)

    return run_in_loop(main)


def run(campaign: str, order: Order, common: Common) -> int:
    """Resume a campaign."""
    settings = read_settings(common, order)
    live = announcing(Live(), common)

    async def main() -> int:
        opening = opened(settings, common.account, waits=order.wait, announce=_telling(common), apart=True)
        async with opening as engine, stopping(common, live, engine) as (stop, caught):
            record = await engine.journal.find_campaign(name=campaign)
            if record is None:
                raise PlanError(
                    _("there is no campaign named {campaign!r}; `xinshi status` lists them").format(campaign=campaign)
                )
            record = await engine.decide(record, order.wish(at=wall_time()))
            with showing(live, is_lively(common)):
                sending = Sending(engine=engine, live=live, stop=stop, allow_partial=order.allow_partial)
                summary = await sending.run(record, limit=order.limit, waits=order.wait)
        return _finish(summary, common, settings, caught)

    return run_in_loop(main)


def explain_refusals(campaign: str, common: Common) -> int:
    """Why the gateway refused texts of a campaign. Exit code 3 when it finds forbidden words in them."""
    settings = read_settings(common)

    async def main() -> int:
        async with Gate.open(settings, common.account) as gate:
            found = await explain_campaign(settings, gate, campaign)
        if common.json:
            out.data(None if found is None else explained_json(found))
        elif found is None:
            out.page(_("No text of {campaign} was refused for its content.\n").format(campaign=campaign))
        else:
            out.page(explained_page(found))
        return SOME_REFUSED if found is not None and (found.fixed or found.values or found.unclear) else OK

    return run_in_loop(main)


def _order(files: Sequence[Path], order: Order, signed: str | None = None) -> SendOrder:
    return SendOrder(
        files=tuple(files),
        text=text_of(order, files),
        text_column=order.text_column,
        defaults=_defaults(order.default),
        add_to=order.add_to,
        column=order.column,
        encoding=order.encoding,
        campaign=order.campaign,
        signature=order.signature,
        opt_out=order.opt_out,
        allow_partial=order.allow_partial,
        waits=order.wait,
        again=order.again,
        limit=order.limit,
        wish=order.wish(at=wall_time()),
        ignore_reserve=order.ignore_reserve,
        signed_off=signed,
    )


def _defaults(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in given:
        name, sign, value = each.partition("=")
        if not sign or not name.strip():
            raise PlanError(
                _("--default {each}: write the column and what stands in for it, such as --default 姓名=客户").format(
                    each=each
                )
            )
        if found.setdefault(name.strip(), value) != value:
            raise PlanError(_("--default {name}: given twice, with two values").format(name=name.strip()))
    return found


def _known_already(name: str, order: SendOrder, counts: CampaignCounts) -> str:
    """What becomes of an order that was given before."""
    rest = _rest_words(counts)
    if order.add_to is not None:
        return _("The campaign {name!r} has these lists already: nothing is added. {rest}\n").format(
            name=name, rest=rest
        )
    wanted = order.campaign
    unused = _(" The name {wanted!r} is not used.").format(wanted=wanted) if wanted not in (None, name) else ""
    return _(
        "This order is known: it is the campaign {name!r}.{unused} {rest}\nTo send all of it once more on purpose, add --again.\n"
    ).format(name=name, unused=unused, rest=rest)


def _rest_words(counts: CampaignCounts) -> str:
    """What still goes out of a campaign, if anything does."""
    left = {state for state, tally in counts.states.items() if tally.batches} & {*BatchState} - _OVER
    if left - {BatchState.IN_DOUBT}:
        return _("What is left of it goes out now, and nothing twice.")
    if left:
        return _(
            "Nothing is left to send; what is in doubt is settled by evidence, and goes out again only if it was not taken."
        )
    if counts.states.keys() & {BatchState.CANCELLED, BatchState.EXPIRED, BatchState.REFUSED}:
        return _("It has ended: nothing is left of it, and nothing goes out now.")
    return _("All of it was sent before: nothing goes out now.")


async def _rehearsed(engine: Engine, order: SendOrder, common: Common, reading: Pipeline, live: Live) -> int:
    """Everything but the sending: what a send would refuse is refused, and nothing stays."""
    if (record := await engine.known(order, reading, looks=True)) is not None:
        counts = await engine.journal.counts(record.campaign_id)
        out.tell(common, _known_already(record.name, order, counts) + _("This is a dry run: nothing was sent.\n"))
        return OK
    with showing(live, is_lively(common)):
        made = await planned(engine, order, reading, live)
    await engine.discard(made)
    if common.json:
        out.data(pages.plan_json(made))
    else:
        out.page(pages.plan_page(made))
    if repeats(made, engine.settings, again=order.again):
        refuse_repeats(made, engine.settings)
    out.tell(common, _("This was a dry run: nothing was sent, no campaign was made.\n"))
    return OK


async def _tested(engine: Engine, made: Plan, common: Common, stop: Stop, *, test: Sequence[str], asks: bool) -> bool:
    """Send the text to the operator's own numbers, and say whether to go on. Raises SendRefused when it is not accepted."""
    if asks and not await _agreed(
        _("Send the text to {count} of your own numbers first? [y/N] ").format(count=len(test))
    ):
        return False
    record = await plan_trial(engine, made, test)
    refuse_failed(await Sending(engine=engine, live=announcing(Live(), common), stop=stop).run(record, waits=False))
    out.tell(
        common,
        _n(
            "The test {name!r} was accepted: {count} number. What it got is what the list gets.\n",
            "The test {name!r} was accepted: {count} numbers. What they got is what the list gets.\n",
            len(test),
        ).format(name=record.name, count=len(test)),
    )
    return True


async def _agreed(question: str) -> bool:
    out.ask(question)
    return (await _typed_line()).strip().lower() in YES


async def _agreed_plan(
    engine: Engine,
    order: SendOrder,
    common: Common,
    reading: Pipeline,
    live: Live,
    stop: Stop,
    *,
    test: Sequence[str],
    asks: bool,
) -> Plan | None:
    """A plan that somebody agrees to; None, and nothing is left of it, when nobody does."""
    with showing(live, is_lively(common)):
        made = await planned(engine, order, reading, live)
    try:
        if not common.json:
            out.tell(common, pages.plan_page(made))
        if made.added_to is not None and not made.tally.recipients:  # of the others, a plan for nobody is refused
            rest = _rest_words(await engine.journal.counts(made.added_to.campaign_id))
            out.tell(common, _("Nobody is added to {name!r}. {rest}\n").format(name=made.name, rest=rest))
            await engine.discard(made)
            return made
        agreed = True
        if repeats(made, engine.settings, again=order.again):
            if not asks:
                refuse_repeats(made, engine.settings)
            agreed = not asks or await _agreed(_("Many of them got nearly this text lately. Is that meant? [y/N] "))
        if agreed and test:
            agreed = await _tested(engine, made, common, stop, test=test, asks=asks)
        if agreed and asks:
            agreed = await _agreed(_question(made, order))
        if agreed:
            return made
    except BaseException:  # put in order, then raised on
        await engine.discard(made)
        raise
    await engine.discard(made)
    return None


def _question(made: Plan, order: SendOrder) -> str:
    people, at = _how_many(made, order), made.conduct.scheduled_for
    if at is None:
        return _("Send to {people} people now? [y/N] ").format(people=people)
    return _("Hand over {people} people now, for the gateway to send at {moment}? [y/N] ").format(
        people=people, moment=date_words(at)
    )


def _how_many(made: Plan, order: SendOrder) -> str:
    everybody = made.tally.recipients
    return (
        f"{everybody:,}"
        if order.limit is None or order.limit >= everybody
        else _("{limit:,} of {everybody:,}").format(limit=order.limit, everybody=everybody)
    )


async def _typed_line() -> str:
    """A line from the terminal. Not in a thread: one that waits for a key cannot be ended by Ctrl-C."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return read_line()


def _finish(summary: CampaignSummary, common: Common, settings: Settings, caught: list[int]) -> int:
    account = settings.account_of(summary.account)
    if common.json:
        out.data(pages.summary_json(summary, account))
    elif not common.quiet:
        words, journal = same_journal(common), settings.journal_path
        out.page(pages.summary_page(summary, words=words, journal=journal, account=account))
    return code_of_summary(summary, signal=caught[0] if caught else None)


def _telling(common: Common) -> Callable[[str], None]:
    return lambda words: out.tell(common, f"{words}\n")
