"""Why a campaign pauses, in a sentence for people."""

from __future__ import annotations

from engine.model import PauseReason

BECAUSE = {
    PauseReason.OPERATOR: "paused by the operator",
    PauseReason.CREDENTIALS: "the gateway refused the login; nothing more was tried with it",
    PauseReason.BALANCE: "the points do not reach",
    PauseReason.CONTENT: "the gateway refused the text",
    PauseReason.CONFIGURATION: "the gateway's address or profile is wrong",
    PauseReason.UNREACHABLE: "the gateway cannot be reached",
    PauseReason.THROTTLED: "the gateway says it is too fast",
    PauseReason.REFUSALS: "several refusals in a row, in words that are not known",
    PauseReason.DOUBTS: "several answers in a row were lost; the gateway may be down",
    PauseReason.IN_DOUBT: "nothing is left to send, but some answers were lost",
    PauseReason.STOPPED: "stopped",
    PauseReason.JOURNAL: "the journal could not be written",
    PauseReason.LIMIT: "only a part was released (--limit)",
    PauseReason.WINDOW: "outside its hours",
    PauseReason.FLOOR: "the points that are to stay would not",
    PauseReason.CANARY: "the canary did not come through",
    PauseReason.UNDELIVERED: "too many of the last reports say undelivered",
}
