"""What is told, before anybody knows to whom: names, states, reasons, counts, points. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from engine.events import Doubtful, Ended, Event, LowBalance, Paused, Resumed, Standing
from engine.language import N_, _
from engine.model import CampaignState, PauseReason
from engine.reasons import BECAUSE
from engine.telemetry import mask

_TOLD = ("accepted", "planned", "in_doubt", "refused", "cancelled", "expired")
_IN_WORDS = {
    "accepted": N_("accepted"),
    "planned": N_("not sent yet"),
    "in_doubt": N_("in doubt"),
    "refused": N_("refused"),
    "cancelled": N_("cancelled"),
    "expired": N_("expired"),
    "finished": N_("finished"),
}


class Kind(StrEnum):
    """What a message is about; the words of `notify.on`, and the trial."""

    PAUSE = "pause"  # also that a wait is over
    END = "end"
    LOW_BALANCE = "low_balance"
    DOUBTS = "doubts"
    TRIAL = "trial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message. `headline` and `lines` are for people; the rest is what programs read."""

    kind: Kind
    at: datetime
    account: str  # its name in the settings
    campaign: str
    headline: str
    lines: tuple[str, ...] = ()
    state: str = ""
    reasons: tuple[str, ...] = ()
    waits: bool = False
    recipients: Mapping[str, int] = field(default_factory=dict)
    points: Mapping[str, Decimal | None] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """One line that says it. The first word is what robots with a keyword look for."""
        named = f"{mask(self.campaign)}: " if self.campaign else ""
        return f"Xinshi · {named}{self.headline}"

    @property
    def text(self) -> str:
        """The whole message for people."""
        return "\n".join((self.title, *self.lines))

    def as_json(self) -> dict[str, Any]:
        """The whole message for programs; points are numbers, null where not known."""
        return {
            "schema": 1,
            "event": self.kind.value,
            "at": self.at.isoformat(timespec="seconds"),
            "account": self.account,
            "campaign": mask(self.campaign),
            "state": self.state,
            "reasons": list(self.reasons),
            "waits": self.waits,
            "recipients": dict(self.recipients),
            "points": {name: None if points is None else _number(points) for name, points in self.points.items()},
            "text": self.text,
        }


def notice_of(event: Event, *, account: str) -> Notice | None:
    """What people are told of an event; None: nothing."""
    match event:
        case Paused():
            return _of_pause(event, account)
        case Ended():
            refused = event.recipients.get("refused", 0)
            headline = _("finished, some were refused") if refused else _(event.state.value)
            return _standing(event, Kind.END, account, headline)
        case Resumed():
            because = _because(event.reasons)
            by_itself = "" if PauseReason.OPERATOR in event.reasons else _(" by itself")
            return _plain(
                event,
                Kind.PAUSE,
                account,
                _("goes on{by_itself} (it had paused: {because})").format(by_itself=by_itself, because=because),
            )
        case LowBalance():
            headline = _("the balance is low: {left:,f} points are left, below {below:,f}").format(
                left=event.balance, below=event.below
            )
            return _plain(event, Kind.LOW_BALANCE, account, headline, points={"remaining": event.balance})
        case Doubtful():
            headline = _(
                "{count:,} recipients are in doubt; nothing more is sent to them until evidence says so"
            ).format(count=event.recipients)
            return _plain(event, Kind.DOUBTS, account, headline, recipients={"in_doubt": event.recipients})
        case _:
            return None


def trial(*, account: str, at: datetime) -> Notice:
    """A message that says nothing but that messages come."""
    return Notice(
        kind=Kind.TRIAL, at=at, account=account, campaign="", headline=_("this is how you will be told"), lines=()
    )


def _of_pause(event: Paused, account: str) -> Notice:
    doubtful = not {PauseReason.IN_DOUBT, PauseReason.DOUBTS}.isdisjoint(event.reasons)
    stopped = event.reasons == (PauseReason.STOPPED,)
    headline = _("stopped") if stopped else _("paused: {because}").format(because=_because(event.reasons))
    if event.waits:
        headline += _("; it waits, and goes on by itself")
    return _standing(event, Kind.DOUBTS if doubtful else Kind.PAUSE, account, headline)


def _standing(event: Standing, kind: Kind, account: str, headline: str) -> Notice:
    everybody = sum(event.recipients.values())
    counts = [
        f"{event.recipients[state]:,} {_(_IN_WORDS.get(state, state))}"
        for state in _TOLD
        if event.recipients.get(state) or state == "accepted"
    ]
    left = "" if event.remaining is None else _(", {remaining:,f} left").format(remaining=event.remaining)
    return Notice(
        kind=kind,
        at=event.at,
        account=account,
        campaign=event.campaign,
        headline=headline,
        lines=(
            _("account: {account}").format(account=account),
            _("recipients: {everybody:,}: {counts}").format(everybody=everybody, counts=", ".join(counts)),
            _("points: {charged:,f} charged{left}").format(charged=event.charged, left=left),
        ),
        state=event.state.value,
        reasons=tuple(reason.value for reason in event.reasons),
        waits=isinstance(event, Paused) and event.waits,
        recipients=event.recipients,
        points={"charged": event.charged, "remaining": event.remaining},
    )


def _plain(
    event: Event,
    kind: Kind,
    account: str,
    headline: str,
    *,
    recipients: Mapping[str, int] | None = None,
    points: Mapping[str, Decimal | None] | None = None,
) -> Notice:
    return Notice(
        kind=kind,
        at=event.at,
        account=account,
        campaign=event.campaign,
        headline=headline,
        lines=(_("account: {account}").format(account=account),),
        state=CampaignState.RUNNING.value,
        recipients=recipients or {},
        points=points or {},
    )


def _because(reasons: tuple[PauseReason, ...]) -> str:
    return _("; ").join(_(BECAUSE[reason]) for reason in reasons) or _("no reason told")


def _number(points: Decimal) -> int | float:
    return int(points) if points == points.to_integral_value() else float(points)
