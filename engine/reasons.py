"""Why a campaign pauses, in a sentence for people."""

from __future__ import annotations

from engine.language import N_
from engine.model import PauseReason

BECAUSE = {
    PauseReason.OPERATOR: N_("paused by the operator"),
    PauseReason.CREDENTIALS: N_("the gateway refused the login; nothing more was tried with it"),
    PauseReason.BALANCE: N_("the points do not reach"),
    PauseReason.CONTENT: N_("the gateway refused the text"),
    PauseReason.CONFIGURATION: N_("the gateway's address or profile is wrong"),
    PauseReason.UNREACHABLE: N_("the gateway cannot be reached"),
    PauseReason.THROTTLED: N_("the gateway says it is too fast"),
    PauseReason.REFUSALS: N_("several refusals in a row, in words that are not known"),
    PauseReason.DOUBTS: N_("several answers in a row were lost; the gateway may be down"),
    PauseReason.IN_DOUBT: N_("nothing is left to send, but some answers were lost"),
    PauseReason.STOPPED: N_("stopped"),
    PauseReason.JOURNAL: N_("the journal could not be written"),
    PauseReason.LIMIT: N_("only a part was released (--limit)"),
    PauseReason.WINDOW: N_("outside its hours"),
    PauseReason.FLOOR: N_("the points that are to stay would not"),
    PauseReason.CANARY: N_("the canary did not come through"),
    PauseReason.SCHEDULE: N_("the time at which the gateway was to send it is over (--gateway-schedule)"),
    PauseReason.UNDELIVERED: N_("too many of the last reports say undelivered"),
}

# The values of Exclusion, marked for the catalogue: people see them behind a figure.
LEFT_OUT = (
    N_("invalid"),
    N_("duplicate"),
    N_("opted_out"),
    N_("empty"),
    N_("landline"),
    N_("foreign"),
    N_("iot"),
    N_("digits_lost"),
    N_("excluded_list"),
    N_("not_on_list"),
    N_("malformed"),
    N_("placeholder"),
    N_("unsendable"),
    N_("too_long"),
    N_("forbidden_value"),
    N_("too_often"),
)
