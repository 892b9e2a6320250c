"""What a command has the owner of a journal do, or does in its place when nobody owns it: orders, opt-outs, a person's word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from decimal import Decimal

from engine.clock import SteadyClock
from engine.errors import (
    JournalError,
)
from engine.gateway.profile import load_profile
from engine.journal.opening import open_journal
from engine.journal.places import refuse_folder, refuse_no_journal
from engine.journal.port import (
    EVERY_ACCOUNT,
    OpenDoubt,
    OptOut,
    OptOutSource,
)
from engine.journal.store import SqlJournal
from engine.language import N_, _, _n
from engine.runs.control import Order, Word, asked
from engine.runs.settling import assume
from engine.runs.steering import Steering
from engine.settings import Settings
from engine.tracking import Barred

ASSUME, TAKEN, NOT_TAKEN = "assume", "taken", "not-taken"
_ASSUMED = {TAKEN: N_("taken"), NOT_TAKEN: N_("not-taken")}
OPT_OUT, OPT_IN = "opt_out", "opt_in"  # orders: account, source, reason, numbers…; account, reason, numbers…
_IN_ONE_ORDER = 1_000  # numbers


async def order_owner(settings: Settings, verb: str, campaign: str, words: Sequence[str] = ()) -> Word:
    """Have an order carried out: by the process that owns the journal, or here when nobody does.

    Raises JournalBusy, JournalError, PlanError.
    """
    order = Order(verb=verb, campaign=campaign, words=tuple(words))
    if (word := await asked(settings.journal_path, order)) is not None:
        return word
    refuse_no_journal(settings.journal_path)
    journal = await open_journal(settings.journal_path)
    try:
        return await Steering(journal).on_order(order)
    finally:
        await journal.close()


async def opt_out(
    settings: Settings,
    account_name: str,
    mobiles: Sequence[str],
    *,
    reason: str,
    source: OptOutSource,
    everywhere: bool = False,
) -> int:
    """Record opt-outs, also while a campaign is being sent: no submission that starts later holds them.

    `everywhere`: from every account. Returns how many were not recorded already. Raises JournalBusy, JournalError, SettingsError.
    """
    account = settings.for_account(account_name).account_key
    return await _ordered(settings, OPT_OUT, [EVERY_ACCOUNT if everywhere else account, source.value, reason], mobiles)


async def opt_in(
    settings: Settings, account_name: str, mobiles: Sequence[str], *, reason: str = "", everywhere: bool = False
) -> int:
    """Take opt-outs back, from the account or those from every account. Returns how many there were.

    Raises JournalBusy, JournalError, SettingsError.
    """
    account = settings.for_account(account_name).account_key
    return await _ordered(settings, OPT_IN, [EVERY_ACCOUNT if everywhere else account, reason], mobiles)


async def _ordered(settings: Settings, verb: str, words: list[str], mobiles: Sequence[str]) -> int:
    """Have the owner of the journal do it, a few numbers at a time; or do it here when nobody owns it."""
    path, count = settings.journal_path, 0
    refuse_folder(path)
    stretches = [mobiles[begin : begin + _IN_ONE_ORDER] for begin in range(0, len(mobiles), _IN_ONE_ORDER)]
    async with AsyncExitStack() as stack:
        mine: SqlJournal | None = None
        for stretch in stretches:
            order = Order(verb=verb, campaign="", words=(*words, *stretch))
            word = None if mine is not None else await asked(path, order)
            if word is None:
                if mine is None:
                    mine = await open_journal(path)
                    stack.push_async_callback(mine.close)
                word = await carry_out(mine, order, Barred(), at=_now())
            if not word.done:
                raise JournalError(word.words)
            count += int(word.words)
    return count


async def assumed(
    journal: SqlJournal,
    order: Order,
    *,
    at: datetime,
    on_ended: Callable[[OpenDoubt, Decimal | None], None] = lambda doubt, charge: None,
) -> Word:
    """Carry out a person's decision about a doubt: the words are account, batch, taken or not-taken, who, price, why.

    `on_ended` is told of it, with its charge where it counts as taken.
    """
    account, seq, what, by, price, reason = order.words
    size = await assume(
        journal,
        account,
        campaign=order.campaign,
        seq=int(seq),
        taken=what == TAKEN,
        by=by,
        reason=reason,
        price=Decimal(price),
        at=at,
        on_ended=on_ended,
    )
    rest = (
        _("they count as accepted")
        if what == TAKEN
        else _("they will be sent to again by: xinshi run {campaign}").format(campaign=order.campaign)
    )
    return Word(
        done=True,
        words=_n(
            "batch {seq} of {campaign} is assumed {what}: {size:,} recipient, {rest}",
            "batch {seq} of {campaign} is assumed {what}: {size:,} recipients, {rest}",
            size,
        ).format(seq=seq, campaign=order.campaign, what=_(_ASSUMED[what]), size=size, rest=rest),
    )


async def order_assumption(
    settings: Settings, account_name: str, campaign: str, *, seq: int, what: str, by: str, reason: str
) -> Word:
    """Have a person's decision about a batch in doubt carried out, by the owner of the journal or here.

    `what` is "taken" or "not-taken". Raises JournalBusy, JournalError, PlanError, SettingsError.
    """
    account = settings.for_account(account_name)
    price = load_profile(account.profile).price_per_segment
    order = Order(verb=ASSUME, campaign=campaign, words=(account.account_key, str(seq), what, by, str(price), reason))
    if (word := await asked(settings.journal_path, order)) is not None:
        return word
    refuse_no_journal(settings.journal_path)
    clock = SteadyClock()
    journal = await open_journal(settings.journal_path, clock=clock)
    try:
        return await assumed(journal, order, at=clock())
    finally:
        await journal.close()


async def carry_out(journal: SqlJournal, order: Order, barred: Barred, *, at: datetime) -> Word:
    """Record opt-outs, or take them back. `barred`: of what is being sent now. The word says how many that were."""
    if order.verb == OPT_IN:
        account, reason, *mobiles = order.words
        removed = await journal.remove_opt_outs(account, mobiles, at=at, reason=reason)
        since = barred.additions
        still_out = await journal.opted_out_among(mobiles, account)  # from every account, where this was from one
        opted_in = [mobile for mobile in mobiles if mobile not in still_out]
        barred.remove(opted_in, since=since)  # only now, when it is durable
        return Word(done=True, words=str(removed))
    account, source, reason, *mobiles = order.words
    barred.add(mobiles)
    new = [OptOut(mobile=mobile, at=at, reason=reason, source=OptOutSource(source)) for mobile in mobiles]
    added = await journal.add_opt_outs(account, new)
    barred.add(mobiles)  # again: a poller may have looked when they were not there yet
    return Word(done=True, words=str(added))


def _now() -> datetime:
    return datetime.now(UTC)
