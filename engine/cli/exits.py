"""Exit codes: contract. When several apply: 1 > 2 > 5 > 130/143 > 75 > 4 > 3 > 0."""

from __future__ import annotations

from engine.errors import (
    BalanceTooLow,
    EngineError,
    GatewayError,
    IntakeError,
    JournalError,
    NotTold,
    PlanError,
    QueueError,
    Refused,
    SchemaMismatch,
    SendRefused,
    SettingsError,
)
from engine.ledger.summary import CampaignSummary
from engine.model import CampaignState, PauseReason

OK, INTERNAL, USAGE, SOME_REFUSED, DOUBTS_OPEN, REFUSED_BEFORE, AGAIN = 0, 1, 2, 3, 4, 5, 75


class StoppedAtOnce(JournalError):
    """A second signal ended the command before the journal had taken all of it: as a kill would, which loses nothing."""

    def __init__(self, problem: str, *, signal: int) -> None:
        self.signal = signal
        super().__init__(problem)


def code_of_error(error: EngineError) -> int:
    """What an error that ended the command exits with."""
    match error:
        case StoppedAtOnce():
            return 128 + error.signal
        case SettingsError() | IntakeError() | PlanError() | SchemaMismatch():
            return USAGE
        case SendRefused() | BalanceTooLow() | Refused():
            return REFUSED_BEFORE
        case JournalError() | GatewayError() | QueueError() | NotTold():
            return AGAIN
        case _:
            return INTERNAL


def code_of_summary(summary: CampaignSummary, *, signal: int | None = None) -> int:
    """What a run that came to this exits with. `signal` is the one that stopped it, None when none did."""
    if signal is not None and summary.state is not CampaignState.FINISHED:
        return 128 + signal
    if summary.reasons == (PauseReason.IN_DOUBT,):
        return DOUBTS_OPEN
    if summary.state not in (CampaignState.FINISHED, CampaignState.CANCELLED):
        return AGAIN
    all_accepted = summary.recipients["accepted"] == sum(summary.recipients.values())
    return OK if all_accepted else SOME_REFUSED
