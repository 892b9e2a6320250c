"""How far a run may go: whole batches, in order, as far as balance and limit reach. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from engine.gateway.profile import Profile
from engine.journal.port import Kind
from engine.language import _, _n
from engine.ledger.points import ZERO
from engine.model import Balance, PauseReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What of a balance may be spent: not what is to stay, nor what other campaigns need. `ratio`: points charged for one expected."""

    keep: Decimal = ZERO
    reserved: Decimal = ZERO
    ratio: Decimal = Decimal(1)

    def points_of(self, balance: Balance) -> Decimal | None:
        """The points that may go; None: as many as anybody wants, or nobody knows."""
        if balance.remaining is None or balance.prepaid is False:
            return None
        return balance.remaining - self.keep - self.reserved

    @property
    def stays(self) -> str:
        """What does not go, in words."""
        stays = _(", {keep:,f} are to stay").format(keep=self.keep) if self.keep else ""
        if self.reserved:
            stays += _(", {reserved:,f} are reserved for other campaigns").format(reserved=self.reserved)
        return stays


def telling_sizes(left: Sequence[Kind]) -> int:
    """By how many sizes the balance tells batches apart. At most 2 where most have the same: those must not wait for one in doubt."""
    batches: Counter[int] = Counter()
    for kind in left:
        batches[kind.size] += kind.batches
    return min(2, len(batches)) if 2 * max(batches.values(), default=0) > batches.total() else len(batches)


def whole_release(
    left: Sequence[Kind], balance: Balance, profile: Profile, *, limit: int | None, spending: Spending
) -> Release | None:
    """Everything that is planned, where limit and balance reach for it; None: `release_of` tells how far they do."""
    points = spending.points_of(balance)
    whole = sum(kind.size * kind.batches for kind in left)
    cost = sum(kind.size * kind.segments * kind.batches for kind in left) * profile.price_per_segment * spending.ratio
    if (limit is not None and whole > limit) or (points is not None and cost > points):
        return None
    return Release(last_seq=None, recipients=whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """How far a run may go: up to `last_seq` (None: to the end), and why not further."""

    last_seq: int | None
    recipients: int
    reason: PauseReason | None = None
    detail: str = ""

    @property
    def nothing(self) -> bool:
        """Whether no batch may go."""
        return self.recipients == 0


def release_of(
    left: Sequence[tuple[int, int, int]],
    balance: Balance,
    profile: Profile,
    *,
    allow_partial: bool,
    limit: int | None,
    spending: Spending,
) -> Release:
    """Whole batches, in order, as far as the balance of a prepaid account and the limit reach.

    `left` are (seq, size, segments a recipient) of the planned batches.
    """
    points, price_per_segment = spending.points_of(balance), profile.price_per_segment * spending.ratio
    whole = sum(size for _, size, _ in left)
    cost = sum(size * segments for _, size, segments in left) * price_per_segment
    reach, last, reason, spent = 0, 0, None, Decimal(0)
    for seq, size, segments in left:
        price = size * segments * price_per_segment
        if limit is not None and reach + size > limit:
            reason = PauseReason.LIMIT
        elif points is not None and spent + price > points:
            reason = PauseReason.FLOOR if spending.keep else PauseReason.BALANCE
        if reason is not None:
            break
        reach, last, spent = reach + size, seq, spent + price
    if reason is None:
        return Release(last_seq=None, recipients=whole)
    if reason is PauseReason.LIMIT:
        detail = _n("{count:,} recipient waits", "{count:,} recipients wait", whole - reach).format(count=whole - reach)
        if not reach:
            detail = _("the next batch has {size} recipients, more than the {limit} released; batches go whole").format(
                size=left[0][1], limit=limit
            )
        return Release(last_seq=last, recipients=reach, reason=reason, detail=detail)
    detail = _(
        "{cost:,f} points were needed and {remaining:,f} were there{stays}; {count:,} recipients wait for a top-up"
    ).format(cost=cost, remaining=balance.remaining, stays=spending.stays, count=whole - reach)
    if not allow_partial:
        return Release(last_seq=0, recipients=0, reason=reason, detail=detail)
    return Release(last_seq=last, recipients=reach, reason=reason, detail=detail)
