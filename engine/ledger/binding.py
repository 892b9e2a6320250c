"""Reports to doubts: an unknown task id is the name of a lost batch when nothing else can be behind it. Pure.

The account's report queue may hold anything: reports of yesterday, of another system, of a batch whose answer is just
being written. So a task id binds only if every condition holds; each one that fails is named, and the reports stay kept.
The absence of reports is never evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from engine.language import _
from engine.ledger.evidence import AttemptKey, Finding, Source, Verdict, clock

SEVERAL = 3
"""Matching mobiles that a shared account needs: one or two may be a customer of two senders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanReport:
    """One report under a task id that no answer told. `received_at` is the gateway's time in UTC, None if unreadable."""

    task_id: str
    mobile: str
    received_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """An attempt that may be behind an unknown task id: doubtful, in flight, or accepted without a task id.

    `mobiles` are the exact numbers it carried. `may_be_bound`: it is accepted without an id (the balance told it), or
    doubtful and not in flight any more. `chain_finding` is what the balance chain says of it, None where it says nothing.
    """

    key: AttemptKey
    campaign: str
    seq: int
    mobiles: tuple[str, ...]
    sent_at: datetime
    may_be_bound: bool
    chain_finding: Finding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPolicy:
    """`clock_skew_s`: how far the gateway's clock may be behind ours."""

    exclusive: bool = True
    clock_skew_s: float = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbound:
    """A task id that stays an orphan for now, and why."""

    task_id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bindings:
    """What the orphans come to: verdicts (taken, with the task id) by attempt, and the task ids that wait."""

    verdicts: tuple[Verdict, ...]
    unbound: tuple[Unbound, ...]


def bind_reports(
    orphans: Iterable[OrphanReport],
    holders: Sequence[Holder],
    *,
    emptied_at: Sequence[datetime],
    policy: ReportPolicy,
) -> Bindings:
    """Bind unknown task ids to attempts. `holders` are all of the account, across campaigns.

    `emptied_at`: when polls of this run that returned no report, and no error, were answered. Any order of the rows gives the same.
    """
    by_mobile: dict[str, set[AttemptKey]] = {}
    for holder in holders:
        for mobile in holder.mobiles:
            by_mobile.setdefault(mobile, set()).add(holder.key)
    by_key = {holder.key: holder for holder in holders}
    first_empty = min(emptied_at, default=None)
    found: dict[str, Verdict] = {}
    unbound: list[Unbound] = []
    for task_id, reports in sorted(_by_task(orphans).items()):
        candidate = _only_holder(reports, by_mobile, by_key)
        if isinstance(candidate, str):
            unbound.append(Unbound(task_id=task_id, why=candidate))
            continue
        objection = _objection(reports, candidate, first_empty, policy)
        if objection is not None:
            unbound.append(Unbound(task_id=task_id, why=objection))
        else:
            found[task_id] = _verdict(task_id, reports, candidate)
    return _without_rivals(found, unbound)


def _by_task(orphans: Iterable[OrphanReport]) -> Mapping[str, list[OrphanReport]]:
    tasks: dict[str, list[OrphanReport]] = {}
    for report in orphans:
        tasks.setdefault(report.task_id, []).append(report)
    return tasks


def _only_holder(
    reports: Sequence[OrphanReport],
    by_mobile: Mapping[str, set[AttemptKey]],
    by_key: Mapping[AttemptKey, Holder],
) -> Holder | str:
    """The one attempt that carried all of these mobiles, or why there is none."""
    mobiles = {report.mobile for report in reports}
    keys = set().union(*(by_mobile.get(mobile, set()) for mobile in mobiles))
    if not keys:
        return _("none of its mobiles is in a batch that is in doubt")
    if len(keys) > 1:
        names = sorted(_named(by_key[key]) for key in keys)
        return _("its mobiles are in more than one batch without a task id: {names}").format(
            names=_(", ").join(names[:4])
        )
    if any(mobile not in by_mobile for mobile in mobiles):
        return _("a mobile that is in no batch of ours without a task id is reported under it")
    return by_key[keys.pop()]


def _named(holder: Holder) -> str:
    return _("batch {seq} of {campaign}").format(seq=holder.seq, campaign=holder.campaign)


def _objection(
    reports: Sequence[OrphanReport], holder: Holder, first_empty: datetime | None, policy: ReportPolicy
) -> str | None:
    """Which condition does not hold for this attempt."""
    name = _named(holder)
    if not holder.may_be_bound:
        return _("{name} is in flight; its answer may still tell the task id").format(name=name)
    if first_empty is None or first_empty >= holder.sent_at:
        return _("the report queue was not read empty before {name} was sent; the reports may be older").format(
            name=name
        )
    times = [report.received_at for report in reports]
    earliest = holder.sent_at - timedelta(seconds=policy.clock_skew_s)
    if any(at is None for at in times):
        return _("a report under it has no time that can be read")
    if any(at is not None and at < earliest for at in times):
        return _("a report under it was received before {name} was sent").format(name=name)
    if holder.chain_finding is Finding.NOT_TAKEN:
        return _("the balance says that {name} was not taken").format(name=name)
    matching = len({report.mobile for report in reports})
    if not policy.exclusive and matching < SEVERAL:
        return _("{matching} matching mobiles are too few on a shared account; {needed} are needed").format(
            matching=matching, needed=SEVERAL
        )
    return None


def _verdict(task_id: str, reports: Sequence[OrphanReport], holder: Holder) -> Verdict:
    mobiles = {report.mobile for report in reports}
    first = min(report.received_at for report in reports if report.received_at is not None)
    words = _(
        "reports under task id {task_id} name {named} of its {size} mobiles and no other, the first received at {at}; "
        "no other batch without a task id holds them"
    ).format(task_id=task_id, named=len(mobiles), size=len(holder.mobiles), at=clock(first))
    return Verdict(key=holder.key, finding=Finding.TAKEN, source=Source.REPORT, evidence=words, task_id=task_id)


def _without_rivals(found: Mapping[str, Verdict], unbound: list[Unbound]) -> Bindings:
    """Two task ids for one attempt: one of them is something else, or the batch went out twice. A person must look."""
    claims: dict[AttemptKey, list[str]] = {}
    for task_id, verdict in found.items():
        claims.setdefault(verdict.key, []).append(task_id)
    verdicts = []
    for task_id, verdict in found.items():
        rivals = [other for other in claims[verdict.key] if other != task_id]
        if rivals:
            unbound.append(
                Unbound(task_id=task_id, why=_("task id {rival} claims the same batch").format(rival=rivals[0]))
            )
        else:
            verdicts.append(verdict)
    return Bindings(
        verdicts=tuple(sorted(verdicts, key=lambda verdict: verdict.key)),
        unbound=tuple(sorted(unbound, key=lambda each: each.task_id)),
    )
