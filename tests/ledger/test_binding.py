"""An unknown task id names a lost batch only when nothing else can be behind it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ledger.binding import Bindings, Holder, OrphanReport, ReportPolicy, bind_reports
from engine.ledger.evidence import AttemptKey, Finding, Source
from tests.ledger.histories import moment
from tests.numbers import mobiles

A, B, C, D, STRANGER, FAR = mobiles(6, seed=90)


def holder(seq: int, *mobiles: str, sent: float = 100) -> Holder:
    key = AttemptKey(batch_id=seq, number=1)
    return Holder(key=key, campaign="spring", seq=seq, mobiles=mobiles, sent_at=moment(sent), may_be_bound=True)


def report(mobile: str, *, task: str = "885", at: float | None = 130) -> OrphanReport:
    return OrphanReport(task_id=task, mobile=mobile, received_at=None if at is None else moment(at))


LOST = holder(4, A, B, C)


def bind(
    *orphans: OrphanReport, holders: tuple[Holder, ...] = (LOST,), emptied: float | None = 50, **policy: bool
) -> Bindings:
    emptied_at = [] if emptied is None else [moment(emptied)]
    return bind_reports(orphans, holders, emptied_at=emptied_at, policy=ReportPolicy(**policy))


def objection(bindings: Bindings) -> str:
    assert bindings.verdicts == ()
    return bindings.unbound[0].why


def test_a_report_proves_the_only_batch_that_holds_its_mobile_taken() -> None:
    (verdict,) = bind(report(A), report(A), report(B)).verdicts
    assert (verdict.key, verdict.finding, verdict.source) == (LOST.key, Finding.TAKEN, Source.REPORT)
    assert verdict.task_id == "885"
    assert "2 of its 3 mobiles" in verdict.evidence


def test_no_report_is_no_evidence() -> None:
    assert bind() == Bindings(verdicts=(), unbound=())


def test_the_queue_must_have_been_read_empty_before_the_batch_was_sent() -> None:
    assert "read empty" in objection(bind(report(A), emptied=None))
    assert "read empty" in objection(bind(report(A), emptied=100))
    assert bind(report(A), emptied=99.9).verdicts


def test_a_report_from_before_the_batch_was_sent_is_another_ones() -> None:
    assert bind(report(A, at=41)).verdicts  # within the clock skew of a minute
    assert "received before" in objection(bind(report(A, at=39)))
    assert "received before" in objection(bind(report(A), report(B, at=39)))


def test_a_report_without_a_time_proves_nothing() -> None:
    assert "no time" in objection(bind(report(A), report(B, at=None)))


def test_a_foreign_mobile_under_the_task_id_forbids_it() -> None:
    assert "in no batch of ours" in objection(bind(report(A), report(STRANGER)))
    assert "none of its mobiles" in objection(bind(report(STRANGER)))


@pytest.mark.parametrize("may_be_bound", [True, False], ids=["doubtful or without an id", "in flight"])
def test_no_other_batch_without_a_task_id_may_hold_the_mobiles(may_be_bound: bool) -> None:
    other = replace(holder(5, B, D, sent=90), campaign="summer", may_be_bound=may_be_bound)
    assert "more than one batch" in objection(bind(report(A), report(B), holders=(LOST, other)))
    assert bind(report(A), holders=(LOST, other)).verdicts


def test_a_batch_in_flight_waits_for_its_answer() -> None:
    assert "in flight" in objection(bind(report(A), holders=(replace(LOST, may_be_bound=False),)))


def test_the_balance_is_not_contradicted() -> None:
    contradicted = replace(LOST, chain_finding=Finding.NOT_TAKEN)
    assert "the balance says" in objection(bind(report(A), holders=(contradicted,)))
    for finding in (Finding.TAKEN, Finding.OPEN):
        assert bind(report(A), holders=(replace(LOST, chain_finding=finding),)).verdicts


def test_a_shared_account_needs_several_mobiles() -> None:
    two = bind(report(A), report(B), report(B), exclusive=False)
    assert "too few" in objection(two)
    assert bind(report(A), report(B), report(C), exclusive=False).verdicts


def test_two_task_ids_for_one_batch_bind_neither() -> None:
    bindings = bind(report(A), report(B, task="886"))
    assert bindings.verdicts == ()
    assert [each.task_id for each in bindings.unbound] == ["885", "886"]
    assert "claims the same batch" in bindings.unbound[0].why


def test_a_batch_without_an_id_is_named_by_a_later_report() -> None:
    second = holder(5, D)
    bindings = bind(report(A), report(D, task="886"), holders=(LOST, second))
    assert [(verdict.key.batch_id, verdict.task_id) for verdict in bindings.verdicts] == [(4, "885"), (5, "886")]


ORPHANS = [report(A), report(B), report(D, task="886"), report(STRANGER, task="887"), report(C, task="888", at=10)]
HOLDERS = [LOST, holder(5, D), replace(holder(6, D), may_be_bound=False), holder(7, FAR)]


@given(st.permutations(ORPHANS), st.permutations(HOLDERS), st.integers(1, 3))
def test_any_order_and_repetition_of_the_reports_gives_the_same(
    orphans: list[OrphanReport], holders: list[Holder], times: int
) -> None:
    policy = ReportPolicy()
    expected = bind_reports(ORPHANS, HOLDERS, emptied_at=[moment(50)], policy=policy)
    assert bind_reports(orphans * times, holders, emptied_at=[moment(60), moment(50)], policy=policy) == expected
