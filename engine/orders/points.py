"""Whether the points reach for a plan."""

from __future__ import annotations

from engine.errors import BalanceTooLow
from engine.language import _
from engine.ledger.points import ZERO
from engine.ledger.release import Spending
from engine.orders.plans import Plan, SendOrder


def refuse_if_too_low(plan: Plan, order: SendOrder) -> None:
    """Raises BalanceTooLow where a prepaid balance does not reach, unless the order sends a part of it or waits."""
    balance = plan.balance
    if balance is None or balance.prepaid is False or balance.remaining is None:
        return
    if order.allow_partial or order.waits:
        return
    needed = plan.points
    if order.limit is not None and plan.tally.recipients:
        needed = needed * min(order.limit, plan.tally.recipients) / plan.tally.recipients
    reserved = ZERO if order.ignore_reserve else plan.reserved_points
    spending = Spending(keep=plan.keep_points, reserved=reserved)
    too_few = needed - (balance.remaining - spending.keep - spending.reserved)
    if too_few > 0:
        names = ""
        if reserved:
            spends = ", ".join(name for name, __ in plan.reserved)
            names = _(" ({names}; --ignore-reserve spends them)").format(names=spends)
        raise BalanceTooLow(
            _(
                "nothing was sent: the campaign needs {needed:,f} points and {remaining:,f} are left{stays}{names} "
                "({too_few:,f} too few); top up, or send what the balance reaches for with --allow-partial"
            ).format(needed=needed, remaining=balance.remaining, stays=spending.stays, names=names, too_few=too_few)
        )
