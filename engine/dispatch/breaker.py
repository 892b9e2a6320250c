"""The breaker: a login page or a dead backend must not turn a campaign into doubts."""

from __future__ import annotations

import asyncio

from engine.model import Outcome, OutcomeKind, PauseReason, RefusalKind


class Breaker:
    """Counts doubts and unknown refusals in a row.

    After `doubts` in a row no new request leaves until all in flight have come back. If one of them was answered, sending
    goes on; if not, the campaign pauses. `refusals` in a row whose text nobody knows pause it at once.
    """

    def __init__(self, *, doubts: int, refusals: int) -> None:
        self._most_doubts, self._most_refusals = doubts, refusals
        self._doubts = self._refusals = self._in_flight = 0
        self.answered = False  # whether the gateway's application has answered in this run
        self._closed = asyncio.Event()  # as in electricity: closed lets through
        self._closed.set()

    async def wait(self) -> None:
        """Wait while it is not clear whether the gateway still answers."""
        await self._closed.wait()

    def begin(self) -> None:
        """A request is about to leave."""
        self._in_flight += 1

    def end(self, outcome: Outcome | None) -> PauseReason | None:
        """The request came back with this outcome (None: it was never sent). Returns why the campaign must pause now."""
        self._in_flight -= 1
        if outcome is not None:
            self._count(outcome)
        if self._doubts < self._most_doubts:
            self._closed.set()
        elif self._in_flight == 0:
            return PauseReason.DOUBTS
        else:
            self._closed.clear()
        return PauseReason.REFUSALS if self._refusals >= self._most_refusals else None

    def let_go(self) -> None:
        """Wake everybody who waits: the campaign stops for another reason."""
        self._closed.set()

    def _count(self, outcome: Outcome) -> None:
        match outcome.kind:
            case OutcomeKind.IN_DOUBT:
                self._doubts += 1
            case OutcomeKind.ACCEPTED | OutcomeKind.REFUSED:
                self._doubts, self.answered = 0, True
                unknown = outcome.kind is OutcomeKind.REFUSED and outcome.refusal is RefusalKind.UNKNOWN
                self._refusals = self._refusals + 1 if unknown else 0
            case OutcomeKind.NOT_SENT | OutcomeKind.NOT_TAKEN:
                pass
