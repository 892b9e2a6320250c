"""Batches become smaller while answers get lost, whole again when they come, and nobody is lost in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.dispatch.losses import LEAST_PART, LOOKED_AT, Losses, split_sizes
from engine.model import Outcome, OutcomeKind

TAKEN = Outcome(kind=OutcomeKind.ACCEPTED, task_id="1")
LOST = Outcome(kind=OutcomeKind.IN_DOUBT)


def after(*outcomes: Outcome) -> Losses:
    losses = Losses()
    for outcome in outcomes:
        losses.note(outcome)
    return losses


def mixed(lost: int, of: int = LOOKED_AT) -> list[Outcome]:
    return [TAKEN] * (of - lost) + [LOST] * lost


@pytest.mark.parametrize(("lost", "parts"), [(0, 1), (4, 1), (5, 2), (7, 2), (10, 4), (16, 8), (32, 8)])
def test_the_more_answers_get_lost_the_smaller_the_parts(lost: int, parts: int) -> None:
    assert after(*mixed(lost)).parts(100) == parts


def test_a_few_lost_answers_are_an_accident() -> None:
    assert after(LOST, LOST, LOST).parts(100) == 1
    assert after(LOST, LOST, LOST, LOST).parts(100) == 4


def test_it_grows_back_when_it_is_calm() -> None:
    losses = after(*mixed(10))
    for _ in range(LOOKED_AT - 3):
        losses.note(TAKEN)
    assert losses.parts(100) > 1  # not at the first calm moment
    losses.note(TAKEN)
    assert losses.parts(100) == 1


@pytest.mark.parametrize("kind", [OutcomeKind.NOT_SENT, OutcomeKind.NOT_TAKEN])
def test_what_was_not_sent_is_no_lost_answer_and_no_answer(kind: OutcomeKind) -> None:
    losses = after(*mixed(10))
    before = losses.share
    losses.note(Outcome(kind=kind))
    assert losses.share == before


@pytest.mark.parametrize("size", [1, 9, 10, 19])
def test_small_batches_stay_whole(size: int) -> None:
    assert after(*mixed(32)).parts(size) == 1


def test_parts_are_not_too_small() -> None:
    assert after(*mixed(32)).parts(35) == 35 // LEAST_PART


@given(size=st.integers(20, 1_000), parts=st.integers(2, 8), seed=st.sets(st.integers(1, 120)))
def test_the_parts_add_up_and_differ(size: int, parts: int, seed: set[int]) -> None:
    parts = min(parts, size // LEAST_PART)
    sizes = split_sizes(size, parts, avoiding=seed)
    assert sum(sizes) == size
    assert len(sizes) == len(set(sizes)) == parts
    assert min(sizes) >= 1


def test_sizes_that_were_used_lately_are_avoided() -> None:
    first = split_sizes(100, 4)
    second = split_sizes(100, 4, avoiding=first)
    assert set(first).isdisjoint(second)
