"""The live view of a run adds up as the journal does."""

from __future__ import annotations

import random
from decimal import Decimal

from engine.ledger.collector import Collector, Progress
from engine.model import BatchState, Outcome, OutcomeKind


def accepted(counts: int | None, remaining: str | None = None) -> Outcome:
    return Outcome(
        kind=OutcomeKind.ACCEPTED,
        task_id="1",
        success_counts=counts,
        remaining=None if remaining is None else Decimal(remaining),
    )


DOUBT = Outcome(kind=OutcomeKind.IN_DOUBT)
NOT_SENT = Outcome(kind=OutcomeKind.NOT_SENT)
REFUSED = Outcome(kind=OutcomeKind.REFUSED)


def test_a_run_that_has_not_begun_shows_its_opening_balance() -> None:
    assert Collector(opening=Decimal(5000)).progress() == Progress(
        accepted=0,
        refused=0,
        in_doubt=0,
        requests=0,
        tasks=0,
        shortfall=0,
        charged=Decimal(0),
        expected_remaining=Decimal(5000),
        reported_remaining=None,
    )


def test_recipients_are_counted_by_what_became_of_their_batch() -> None:
    collector = Collector(opening=Decimal(1000))
    collector.note(accepted(98, "902"), size=100, then=BatchState.ACCEPTED, charge=Decimal(98))
    collector.note(accepted(50, "852"), size=50, then=BatchState.ACCEPTED, charge=Decimal(50))
    collector.note(REFUSED, size=7, then=BatchState.REFUSED, charge=None)
    collector.note(DOUBT, size=20, then=BatchState.IN_DOUBT, charge=None)
    collector.note(NOT_SENT, size=9, then=BatchState.CLAIMED, charge=None)
    collector.note(NOT_SENT, size=9, then=BatchState.PLANNED, charge=None)
    assert collector.progress() == Progress(
        accepted=150,
        refused=7,
        in_doubt=20,
        requests=6,
        tasks=2,
        shortfall=2,
        charged=Decimal(148),
        expected_remaining=Decimal(852),
        reported_remaining=Decimal(852),
    )


def test_answers_that_overtake_each_other_do_not_raise_the_balance() -> None:
    answers = [accepted(1, str(left)) for left in range(90, 100)]
    random.Random(1).shuffle(answers)
    collector = Collector(opening=Decimal(100))
    for answer in answers:
        collector.note(answer, size=1, then=BatchState.ACCEPTED, charge=Decimal(1))
    progress = collector.progress()
    assert progress.reported_remaining == progress.expected_remaining == Decimal(90)


def test_what_no_answer_told_is_not_made_up() -> None:
    collector = Collector(opening=None)
    collector.note(accepted(None), size=5, then=BatchState.ACCEPTED, charge=Decimal(5))
    progress = collector.progress()
    assert (progress.expected_remaining, progress.reported_remaining) == (None, None)
    assert (progress.charged, progress.shortfall) == (Decimal(5), 0)


def test_a_count_above_the_batch_is_no_negative_shortfall() -> None:
    collector = Collector(opening=None)
    collector.note(accepted(10), size=5, then=BatchState.ACCEPTED, charge=Decimal(10))
    assert collector.progress().shortfall == 0
