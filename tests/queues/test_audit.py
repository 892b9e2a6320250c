"""The laws of a campaign that grows from a queue: its unit of once is the number in its message."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from engine.journal.port import AttemptRow, AuditView, BatchRow, TaskReports
from engine.ledger.audit import Law, Truth, audit
from engine.ledger.evidence import Policy
from engine.ledger.reckoning import reckon
from engine.model import BatchState, OutcomeKind
from tests.numbers import mobiles

ONE, TWO = mobiles(2)
AT = datetime(2026, 3, 1, tzinfo=UTC)


def batch(seq: int, lines: list[int], numbers: list[str], state: BatchState = BatchState.ACCEPTED) -> BatchRow:
    return BatchRow(seq=seq, state=state, size=len(numbers), attempts=1, mobiles=numbers, lines=lines)


def attempt(seq: int, size: int) -> AttemptRow:
    return AttemptRow(
        seq=seq,
        number=1,
        size=size,
        started_at=AT,
        finished_at=AT,
        outcome=OutcomeKind.ACCEPTED,
        refusal=None,
        reason="",
        task_id=f"t{seq}",
        success_counts=size,
        evidence="",
        charge=Decimal(size),
    )


TWO_NOTICES = AuditView(
    rows=3,
    extra=0,
    excluded_lines=[],
    batches=[batch(1, [1, 2], [ONE, TWO]), batch(2, [3], [ONE])],
    attempts=[attempt(1, 2), attempt(2, 1)],
    segments=1,
    reports=[
        TaskReports(task_id="t1", mobiles=[ONE, TWO], attempt=(1, 1)),
        TaskReports(task_id="t2", mobiles=[ONE], attempt=(2, 1)),
    ],
    account_charged=Decimal(3),
    notices={1: "a", 2: "a", 3: "b"},
)
"""ONE got two different notices."""


def broken(view: AuditView, truth: dict[str, int] | None = None) -> dict[Law, str]:
    policy = Policy(
        min_age_s=1,
        balance_settle_s=1,
        exclusive=True,
        prepaid=None,
        remainpoint_meaningful=True,
        short_counts=False,
    )
    told = None if truth is None else Truth(mobiles=truth, charges=Decimal(sum(truth.values())))
    findings = audit(view, reckon([], [], price=Decimal(1), policy=policy), truth=told)
    return {finding.law: finding.detail for finding in findings if not finding.holds}


def test_two_different_notices_to_one_person_break_no_law() -> None:
    assert broken(TWO_NOTICES) == {}
    assert broken(TWO_NOTICES, {ONE: 2, TWO: 1}) == {}


def test_the_same_from_a_list_breaks_it() -> None:
    assert set(broken(replace(TWO_NOTICES, notices=None))) == {Law.ONCE}


def test_one_notice_in_two_batches_breaks_it() -> None:
    found = broken(replace(TWO_NOTICES, notices={1: "a", 2: "a", 3: "a"}))
    assert "is in batch 1 and in batch 2" in found[Law.ONCE]


def test_one_batch_under_two_task_ids_breaks_it() -> None:
    again = TaskReports(task_id="t9", mobiles=[TWO], attempt=(1, 2))
    assert "under two task ids" in broken(replace(TWO_NOTICES, reports=[*TWO_NOTICES.reports, again]))[Law.ONCE]


@pytest.mark.parametrize("times", [3, 4])
def test_more_at_the_gateway_than_there_are_notices_is_found(times: int) -> None:
    view = replace(TWO_NOTICES, account_charged=Decimal(times + 1))
    assert "accepted" in broken(view, {ONE: times, TWO: 1})[Law.COVERED]


def test_a_notice_that_was_refused_here_and_taken_there_is_found() -> None:
    refused = batch(2, [3], [ONE], BatchState.REFUSED)
    row = replace(attempt(2, 1), outcome=OutcomeKind.REFUSED, task_id=None, charge=None, success_counts=None)
    view = replace(TWO_NOTICES, batches=[TWO_NOTICES.batches[0], refused], attempts=[attempt(1, 2), row], reports=[])
    assert Law.COVERED in broken(view, {ONE: 2, TWO: 1})
    assert Law.COVERED not in broken(replace(view, account_charged=Decimal(2)), {ONE: 1, TWO: 1})
