"""How far a run may go: whole batches, in order, as far as balance and limit reach. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from engine.gateway.profile import Profile
from engine.model import Balance, Message, PauseReason


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
    messages: dict[int, Message],
    balance: Balance,
    profile: Profile,
    *,
    allow_partial: bool,
    limit: int | None,
) -> Release:
    """Whole batches, in order, as far as the balance of a prepaid account and the limit reach.

    `left` are (seq, size, message seq) of the planned batches.
    """
    points = balance.remaining if balance.prepaid is not False else None
    whole = sum(size for _, size, _ in left)
    cost = sum((Decimal(size * messages[m].segments) * profile.price_per_segment for _, size, m in left), Decimal(0))
    reach, last, reason, spent = 0, 0, None, Decimal(0)
    for seq, size, message in left:
        price = Decimal(size * messages[message].segments) * profile.price_per_segment
        if limit is not None and reach + size > limit:
            reason = PauseReason.LIMIT
        elif points is not None and spent + price > points:
            reason = PauseReason.BALANCE
        if reason is not None:
            break
        reach, last, spent = reach + size, seq, spent + price
    if reason is None:
        return Release(last_seq=None, recipients=whole)
    if reason is PauseReason.LIMIT:
        detail = f"{whole - reach:,} recipients wait"
        if not reach:
            detail = f"the next batch has {left[0][1]} recipients, more than the {limit} released; batches go whole"
        return Release(last_seq=last, recipients=reach, reason=reason, detail=detail)
    detail = f"{cost:,f} points were needed and {points:,f} were there; {whole - reach:,} recipients wait for a top-up"
    if not allow_partial:
        return Release(last_seq=0, recipients=0, reason=reason, detail=detail)
    return Release(last_seq=last, recipients=reach, reason=reason, detail=detail)
