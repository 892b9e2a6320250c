"""A test before a send: the final text to the operator's own numbers, as a small campaign of its own that is charged and audited."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from engine.errors import PlanError, SendRefused
from engine.journal.port import CampaignRecord, Draft, PlanTotals, SourceRecord
from engine.language import _
from engine.ledger.summary import CampaignSummary
from engine.model import Message, PlannedBatch
from engine.orders.plans import Plan
from engine.planning.batching import batch_sizes
from engine.planning.order import order_key
from engine.planning.wording import SameText
from engine.runtime import Engine

MOST_NUMBERS = 20


async def plan_trial(engine: Engine, plan: Plan, mobiles: Sequence[str]) -> CampaignRecord:
    """Make the campaign. It goes at any hour: somebody is waiting for it. Raises PlanError, JournalError."""
    numbers = list(dict.fromkeys(mobiles))
    if len(numbers) > MOST_NUMBERS:
        raise PlanError(
            _("--test is for your own numbers, {most} at most; {count} are given").format(
                most=MOST_NUMBERS, count=len(numbers)
            )
        )
    text, journal = trial_text(plan), engine.journal
    now = datetime.now(UTC)
    draft = Draft(
        name=await _name(engine, plan.name),
        account=engine.account_key,
        profile=plan.profile.name,
        order_key=order_key(engine.account_key, f"test {now.isoformat()}", [plan.order_key]),
        plan_hash=plan.plan_hash,
        messages=[text],
        sources=[SourceRecord(path="--test", sha256="", size=0, encoding="", number_column="")],
        created_at=now,
    )
    campaign_id = await journal.begin_campaign(draft)
    await journal.add_plan(campaign_id, _batches(numbers, most=engine.settings.batch.max_recipients), [])
    points = plan.profile.price_per_segment * text.segments * len(numbers)
    totals = PlanTotals(rows=len(numbers), extra=0, recipients=len(numbers), estimated=points)
    await journal.publish_campaign(campaign_id, totals)
    record = await journal.find_campaign(name=draft.name)
    assert record is not None
    return record


def _batches(numbers: Sequence[str], *, most: int) -> list[PlannedBatch]:
    found: list[PlannedBatch] = []
    begin = 0
    for seq, size in enumerate(batch_sizes(most, distinct=False), 1):
        part = numbers[begin : begin + size]
        if not part:
            return found
        lines = f"{begin + 1}-{begin + len(part)}" if len(part) > 1 else f"{begin + 1}"
        found.append(PlannedBatch(seq=seq, size=len(part), mobiles=",".join(part), lines=lines))
        begin += len(part)
    return found


def trial_text(plan: Plan) -> Message:
    """What the test says: the text, or that of the first row."""
    if isinstance(plan.wording, SameText):
        return plan.wording.message
    return plan.tally.text_samples[0][1]


def refuse_failed(summary: CampaignSummary) -> None:
    """Raises SendRefused where the gateway did not take the whole test."""
    if summary.recipients["accepted"] and summary.recipients["accepted"] == sum(summary.recipients.values()):
        return
    why = summary.detail or "; ".join(reason for _, reason in summary.words) or _("its numbers have opted out")
    raise SendRefused(
        _(
            "nothing was sent to the list: the test {campaign!r} was not accepted ({why}). `xinshi status` tells more"
        ).format(campaign=summary.campaign, why=why)
    )


async def _name(engine: Engine, campaign: str) -> str:
    name, times = f"{campaign}-test", 1
    while await engine.journal.find_campaign(name=name) is not None:
        times += 1
        name = f"{campaign}-test-{times}"
    return name
