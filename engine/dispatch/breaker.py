"""The breaker: a login page or a dead backend must not turn a campaign into doubts."""

from __future__ import annotations

import asyncio

from engine.model import Outcome, OutcomeKind, PauseReason, RefusalKind


class Breaker:
    """Counts doubts and unknown refusals in a row.

    After `doubts` in a row all that is in flight comes back first; then one request goes alone. If it is answered, sending
    goes on: a server that was restarted loses a full set at once. If it is lost too, the campaign pauses. `refusals` in a
    row whose text nobody knows pause it at once.
    """

    def __init__(self, *, doubts: int, refusals: int) -> None:
        self._most_doubts, self._most_refusals = doubts, refusals
        self._doubts = self._refusals = self._in_flight = 0
        self._crowded = False  # whether two were in flight at once since the last time nobody was
        self._stopped = False
        self._changed: asyncio.Event | None = None  # while somebody waits for it
        self.answered = False  # whether the gateway's application has answered in this run

    async def enter(self) -> None:
        """Wait until a request may leave, and count it in. Every `enter` needs its `leave`."""
        while self._tripped and self._in_flight and not self._stopped:
            if self._changed is None:
                self._changed = asyncio.Event()
            await self._changed.wait()
        self._crowded = self._crowded or self._in_flight > 0
        self._in_flight += 1

    def leave(self, outcome: Outcome | None) -> PauseReason | None:
        """The request came back with this outcome (None: it was never sent). Returns why the campaign must pause now."""
        alone = not self._crowded
        self._in_flight -= 1
        if self._in_flight == 0:
            self._crowded = False
        if outcome is not None:
            self._count(outcome)
        self._wake()
        if outcome is None:
            return None
        if self._tripped and alone and outcome.kind is OutcomeKind.IN_DOUBT:
            return PauseReason.DOUBTS
        return PauseReason.REFUSALS if self._refusals >= self._most_refusals else None

    def let_go(self) -> None:
        """Wake everybody who waits: the campaign stops for another reason."""
        self._stopped = True
        self._wake()

    @property
    def holds_back(self) -> bool:
        """Whether a request that is counted in must not leave after all: too many were lost while it was getting ready."""
        return self._tripped and self._in_flight > 1 and not self._stopped

    @property
    def _tripped(self) -> bool:
        return self._doubts >= self._most_doubts

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

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
