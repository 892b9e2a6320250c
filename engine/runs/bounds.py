"""What a campaign must stay within at each submission: its hours, the gateway's time to send, the points that are to stay."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from engine.dispatch.decisions import charge_of
from engine.dispatch.pool import PoolEnd
from engine.dispatch.schedule import Schedule
from engine.dispatch.timetable import Timetable
from engine.language import _
from engine.ledger.floor import Floor
from engine.ledger.points import ZERO
from engine.model import Claim, Outcome, OutcomeKind, PauseReason


class Bounds:
    """Asked by the pool before each intent, and again when the request is about to leave."""

    def __init__(
        self, timetable: Timetable, floor: Floor | None, *, price: Decimal, schedule: Schedule | None = None
    ) -> None:
        self._timetable, self._floor, self._price, self._schedule = timetable, floor, price, schedule
        self._answered = asyncio.Event()
        self._doubts: dict[int, Decimal] = {}  # what they may have cost, by batch

    async def admit(self, claim: Claim) -> PoolEnd | None:
        """Why this batch may not go; None: it may, and its cost is kept for it until `leave`.

        Near the floor it waits for the answers under way, which tell how much is left.
        """
        while True:
            if (closed := self.closed()) is not None:
                return closed
            if self._floor is None or self._floor.admit(self._cost(claim)):
                return None
            if not self._floor.may_tell_more:
                return self._at_the_floor(claim, self._floor)
            self._answered.clear()
            await self._answered.wait()

    def _at_the_floor(self, claim: Claim, floor: Floor) -> PoolEnd:
        needed, left = self._cost(claim) * floor.ratio, max(ZERO, floor.left)
        detail = _(
            "the next batch costs {needed:,f} points; {keep:,f} are to stay, and {left:,f} are above that"
        ).format(needed=needed, keep=floor.keep, left=left)
        return PoolEnd(reason=PauseReason.FLOOR, detail=detail)

    def closed(self) -> PoolEnd | None:
        """Why nothing may leave at this moment."""
        if not self._timetable.is_open:
            return PoolEnd(reason=PauseReason.WINDOW, detail=self._timetable.words())
        if self._schedule is not None and self._schedule.is_over:
            return PoolEnd(reason=PauseReason.SCHEDULE, detail=self._schedule.words())
        return None

    def leave(self, claim: Claim, outcome: Outcome | None) -> None:
        """What was admitted came to this; None: it never left."""
        if self._floor is None:
            return
        charge = None
        if outcome is not None and outcome.kind is OutcomeKind.ACCEPTED:
            charge = charge_of(outcome, claim.size, claim.message.segments, self._price)
        self._floor.leave(self._cost(claim), outcome, charge)
        if outcome is not None and outcome.kind is OutcomeKind.IN_DOUBT:
            self._doubts[claim.batch_id] = self._cost(claim)
        self._answered.set()

    def end_doubt(self, batch_id: int, *, taken: bool) -> None:
        """A doubt has ended, of before or of what was admitted here: what it did not cost may be spent."""
        cost = self._doubts.pop(batch_id, None)
        if self._floor is not None and cost is not None:
            self._floor.end_doubt(cost, taken=taken)
            self._answered.set()

    def _cost(self, claim: Claim) -> Decimal:
        return claim.size * claim.message.segments * self._price
