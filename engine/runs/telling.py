"""Tells what happens to campaigns: to the log, to people (notifications), to programs that follow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal

from engine.dispatch.pool import PoolEnd, Settled
from engine.errors import SettingsError
from engine.events import (
    BatchAccepted,
    BatchInDoubt,
    BatchRefused,
    Doubtful,
    DoubtSettled,
    Ended,
    Event,
    LowBalance,
    Paused,
    Planned,
    Reported,
    Resumed,
    Started,
)
from engine.journal.port import OpenDoubt
from engine.language import _
from engine.ledger.points import ZERO
from engine.ledger.summary import CampaignSummary
from engine.live import Live
from engine.model import BatchState, CampaignState, PauseReason
from engine.notify import Channels, Delivery, Outbox, notice_of, trial
from engine.orders.plans import Plan
from engine.runs.steering import PAUSED, SENDING
from engine.settings import NotifySettings, Settings
from engine.telemetry import logger

_SENTENCES: dict[type[Event], str] = {
    Planned: "a campaign was planned",
    Started: "sending begins",
    BatchRefused: "a batch was refused",
    BatchInDoubt: "a batch is in doubt",
    DoubtSettled: "a doubt was settled",
    LowBalance: "the balance is low",
    Doubtful: "waiting for evidence",
    Paused: "the campaign paused",
    Resumed: "the campaign goes on by itself",
    Ended: "the campaign ended",
}


_UNLOGGED = ("at", "reason")  # the gateway's words about a text may quote it


def channels_of(settings: NotifySettings) -> Channels:
    """Where notices go, with the secrets in clear."""
    secret = settings.dingtalk_secret
    return Channels(
        on=frozenset(settings.on),
        command=settings.command,
        webhook=settings.webhook.get_secret_value(),
        wecom=settings.wecom.get_secret_value(),
        dingtalk=settings.dingtalk.get_secret_value(),
        dingtalk_secret="" if secret is None else secret.get_secret_value(),
        timeout_s=settings.timeout_s,
    )


async def tell_trial(settings: Settings, account: str) -> list[Delivery]:
    """Send people a message that says that messages come. Raises SettingsError where there is no way to anybody."""
    channels = channels_of(settings.notify)
    if not channels.names:
        raise SettingsError(
            _("notify: nobody would be told; set command, webhook, wecom or dingtalk in [notify] of the settings file")
        )
    return await Outbox(channels).deliver(trial(account=account, at=datetime.now(UTC)))


class Herald:
    """One engine's voice. `followers` are called with every event, in the loop, and must not block."""

    def __init__(self, outbox: Outbox, *, account: str, low_balance: Decimal, clock: Callable[[], datetime]) -> None:
        self._outbox, self._account, self._low_balance = outbox, account, low_balance
        self._now = clock
        self.followers: list[Callable[[Event], None]] = []
        self._campaign = ""  # that is being sent
        self._was_low = self._stands = False

    def tell(self, event: Event, *, loudly: bool = True) -> None:
        """Log it, hand it to who follows, and, `loudly`, notify people of it if they want that."""
        sentence = _SENTENCES.get(type(event))
        if sentence is not None and logger.isEnabledFor(logging.INFO):
            told = {each.name: getattr(event, each.name) for each in fields(event) if each.name not in _UNLOGGED}
            logger.info(sentence, extra=told)
        for follower in self.followers:
            follower(event)
        if loudly and (notice := notice_of(event, account=self._account)) is not None:
            self._outbox.put(notice)

    def planned(self, plan: Plan, name: str) -> None:
        """A plan became a campaign, or a part of one."""
        tally = plan.tally
        self.tell(
            Planned(
                campaign=name,
                at=self._now(),
                rows=tally.rows,
                left_out=sum(tally.excluded.values()),
                recipients=tally.recipients,
                batches=tally.batches,
                points=tally.points,
                plan_hash=plan.plan_hash,
            )
        )

    def started(self, campaign: str, *, recipients: int, balance: Decimal | None) -> None:
        """Sending begins."""
        self._campaign, self._was_low, self._stands = campaign, False, False
        self.tell(Started(campaign=campaign, at=self._now(), recipients=recipients, balance=balance))
        self.note_balance(balance)

    def note_balance(self, balance: Decimal | None) -> None:
        """So many points are left."""
        if balance is None or self._was_low or balance >= self._low_balance:
            return
        self._was_low = True
        self.tell(LowBalance(campaign=self._campaign, at=self._now(), balance=balance, below=self._low_balance))

    def note_settled(self, settled: Settled) -> None:
        """An attempt came to its end. Quick where nobody listens: there may be thousands a second."""
        if not self.followers and settled.decision.then is BatchState.ACCEPTED:
            return
        recipients, reason = settled.submitted.size, settled.outcome.reason
        match settled.decision.then:
            case BatchState.ACCEPTED:
                points = settled.decision.charge or ZERO
                event: Event = BatchAccepted(
                    campaign=self._campaign, at=self._now(), recipients=recipients, points=points
                )
            case BatchState.REFUSED:
                event = BatchRefused(campaign=self._campaign, at=self._now(), recipients=recipients, reason=reason)
            case BatchState.IN_DOUBT:
                event = BatchInDoubt(campaign=self._campaign, at=self._now(), recipients=recipients, reason=reason)
            case _:
                return
        self.tell(event)

    def note_phase(self, phase: str, live: Live) -> None:
        """What a run does now: whether an operator made it stand, and let it go on."""
        if phase == PAUSED and not self._stands:
            self._stands = True
            self.tell(self._standing_at(live, PauseReason.OPERATOR))
        elif phase == SENDING and self._stands:
            self._stands = False
            self.resumed(self._campaign, (PauseReason.OPERATOR,))

    def consuming(self, name: str) -> None:
        """A queue is being consumed; `name` is what its campaigns begin with."""
        self._campaign, self._was_low, self._stands = name, False, False

    def consumed(self, end: PoolEnd, live: Live) -> None:
        """Consuming is over. That the queue is empty, nobody needs to be told."""
        if end.reason is not None:
            self.tell(self._standing_at(live, end.reason))
        self._campaign = ""

    def _standing_at(self, live: Live, reason: PauseReason) -> Paused:
        """A pause in the figures of a run, not of a campaign."""
        now = live.collector.progress()
        done = {"accepted": now.accepted, "refused": now.refused, "in_doubt": now.in_doubt}
        return Paused(
            campaign=self._campaign,
            at=self._now(),
            state=CampaignState.PAUSED,
            reasons=(reason,),
            recipients={"planned": max(0, live.recipients - sum(done.values())), **done},
            charged=now.charged,
            remaining=now.expected_remaining if now.reported_remaining is None else now.reported_remaining,
        )

    def note_ended_doubt(self, doubt: OpenDoubt, charge: Decimal | None) -> None:
        """Evidence ended a doubt; taken where it has a charge."""
        taken = charge is not None
        self.tell(DoubtSettled(campaign=doubt.campaign, at=self._now(), recipients=doubt.size, taken=taken))

    def note_read(self, reports: int, replies: int) -> None:
        """A poll brought something."""
        self.tell(Reported(campaign=self._campaign, at=self._now(), reports=reports, replies=replies))

    def doubtful(self, recipients: int) -> None:
        """Settlement waits."""
        self.tell(Doubtful(campaign=self._campaign, at=self._now(), recipients=recipients), loudly=bool(self._campaign))

    def over(self, summary: CampaignSummary, *, mends: Collection[PauseReason] = ()) -> None:
        """A run is over. `mends`: reasons to pause that are waited out. People are not told that nothing was left to do."""
        started, self._campaign = self._campaign == summary.campaign, ""
        finished = summary.state in (CampaignState.FINISHED, CampaignState.CANCELLED)
        waits = bool(summary.reasons) and set(summary.reasons) <= set(mends)
        self.tell(self._ended(summary) if finished else self._paused(summary, waits), loudly=started or not finished)

    def _ended(self, summary: CampaignSummary) -> Ended:
        return Ended(
            campaign=summary.campaign,
            at=self._now(),
            state=summary.state,
            reasons=summary.reasons,
            recipients=dict(summary.recipients),
            charged=summary.charged,
            remaining=summary.remaining,
        )

    def _paused(self, summary: CampaignSummary, waits: bool) -> Paused:
        return Paused(
            campaign=summary.campaign,
            at=self._now(),
            state=summary.state,
            reasons=summary.reasons,
            recipients=dict(summary.recipients),
            charged=summary.charged,
            remaining=summary.remaining,
            waits=waits,
        )

    def resumed(self, campaign: str, reasons: tuple[PauseReason, ...]) -> None:
        """A wait is over."""
        self.tell(Resumed(campaign=campaign, at=self._now(), reasons=reasons))
