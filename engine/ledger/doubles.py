"""Doubles that only reports tell: one person under two task ids of a campaign. Pure.

A message that was sent twice has two task ids, and reports name the person under both. Either both ids are known, or one of
them is of an attempt that was held to be not taken, and was taken after all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from engine.journal.port import AttemptRow, AuditView, SettledBy, TaskReports
from engine.language import N_, _, _n

_NAMES_SHOWN = 3

_BY = {SettledBy.REPORT: N_("a report"), SettledBy.BALANCE: N_("the balance"), SettledBy.OPERATOR: N_("an operator")}


def by_whom(settled_by: SettledBy | None) -> str:
    """Who settled a doubt, to stand behind "settled"; "" where nobody is named."""
    return "" if settled_by is None else _(" by {whom}").format(whom=_(_BY[settled_by]))


def masked(mobile: str) -> str:
    """A number that may be shown to anybody."""
    return f"{mobile[:3]}****{mobile[7:]}"


def doubles(view: AuditView) -> Iterator[str]:
    """Everybody whom the reports name twice, in sentences."""
    yield from _under_two_ids(view)
    yield from _taken_after_all(view)


def _under_two_ids(view: AuditView) -> Iterator[str]:
    """Two known task ids of the campaign name the same person, and the campaign sent to that person."""
    first: dict[str, TaskReports] = {}
    twice: list[tuple[str, TaskReports, TaskReports]] = []
    for told in view.reports:
        for mobile in told.mobiles:
            if (other := first.setdefault(_unit(view, told, mobile), told)).task_id != told.task_id:
                twice.append((mobile, other, told))
    if not twice:
        return
    ours = {mobile for batch in view.batches for mobile in batch.mobiles}
    for mobile, one, other in twice:
        if mobile in ours:
            yield _("{mobile} is reported under two task ids: {one} and {other}").format(
                mobile=masked(mobile), one=_place(one), other=_place(other)
            )


def _unit(view: AuditView, told: TaskReports, mobile: str) -> str:
    """Of a queue another batch is another notice, which may go to the same person."""
    return mobile if view.notices is None or told.attempt is None else f"{mobile} {told.attempt[0]}"


def _place(told: TaskReports) -> str:
    assert told.attempt is not None
    seq, number = told.attempt
    return _("{task_id} (batch {seq}, attempt {number})").format(task_id=told.task_id, seq=seq, number=number)


def _taken_after_all(view: AuditView) -> Iterator[str]:
    """A task id that no answer told names people whose attempt was settled not taken: the worst there is."""
    refuted = [row for row in view.attempts if row.was_settled_not_taken]
    if not refuted or not view.orphans:
        return
    whole = {batch.seq: batch.mobiles for batch in view.batches}
    under: dict[str, list[str]] = defaultdict(list)
    for told in view.orphans:
        for mobile in told.mobiles:
            under[mobile].append(told.task_id)
    # Each attempt that has no task id of its own may be behind one unknown id; then that proves nothing.
    may_be_behind = Counter(mobile for mobiles in view.nameless for mobile in mobiles if mobile in under)
    later = {(row.seq, row.number): row for row in view.attempts}
    for row in refuted:
        carried = set(whole[row.seq]).difference(row.omitted)
        by_task: dict[str, list[str]] = defaultdict(list)
        for mobile in sorted(carried & under.keys()):
            if len(under[mobile]) > may_be_behind[mobile]:
                for task_id in under[mobile]:
                    by_task[task_id].append(mobile)
        for task_id, mobiles in sorted(by_task.items()):
            yield _words(row, task_id, mobiles, later)


def _words(row: AttemptRow, task_id: str, mobiles: list[str], later: dict[tuple[int, int], AttemptRow]) -> str:
    names = ", ".join(map(masked, mobiles[:_NAMES_SHOWN])) + (_(" and others") if len(mobiles) > _NAMES_SHOWN else "")
    again = later.get((row.seq, row.number + 1))
    if again is None:
        then = _("and the batch is to be sent again: stop it")
    elif again.was_taken:
        known = (
            _("task id {task_id}").format(task_id=again.task_id)
            if again.task_id
            else _("by evidence, without a task id")
        )
        then = _("and the batch was taken again as attempt {number} ({known})").format(number=again.number, known=known)
    else:
        then = _("and the batch was handed over again as attempt {number}").format(number=again.number)
    return _n(
        "{names} of batch {seq} is reported under task id {task_id}, which no answer told: attempt {number}, "
        "settled{by} as not taken, was taken after all, {then}",
        "{names} of batch {seq} are reported under task id {task_id}, which no answer told: attempt {number}, "
        "settled{by} as not taken, was taken after all, {then}",
        len(mobiles),
    ).format(names=names, seq=row.seq, task_id=task_id, number=row.number, by=by_whom(row.settled_by), then=then)
