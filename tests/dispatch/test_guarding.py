"""The guard is as wide as answers spread, and as narrow as by default when they do not."""

from __future__ import annotations

import random

import pytest

from engine.dispatch.guarding import Bounds, Guard

BOUNDS = Bounds(default_s=0.020, most_s=0.500)


def fed(guard: Guard, times: list[float]) -> Guard:
    for took_s in times:
        guard.note(took_s)
    return guard


def spread(around_s: float, by_s: float, count: int = 400, seed: int = 1) -> list[float]:
    chance = random.Random(seed)
    return [around_s + chance.uniform(-by_s / 2, by_s / 2) for _ in range(count)]


@pytest.mark.parametrize("around_s", [0.001, 0.05, 2.0])
def test_even_answers_leave_it_as_it_is(around_s: float) -> None:
    guard = fed(Guard(BOUNDS), spread(around_s, around_s * 0.001))
    assert (guard.guard_s, guard.is_wide) == (0.020, False)


@pytest.mark.parametrize("by_s", [0.05, 0.1, 0.3])
def test_it_covers_the_spread_of_the_answers_and_not_much_more(by_s: float) -> None:
    guard = fed(Guard(BOUNDS), spread(0.4, by_s))
    assert by_s * 0.95 <= guard.guard_s <= by_s * 2
    assert guard.is_wide


def test_it_never_takes_more_than_it_may() -> None:
    assert fed(Guard(BOUNDS), spread(3.0, 3.0)).guard_s == 0.500


def test_it_narrows_again_when_it_is_calm() -> None:
    guard = fed(Guard(BOUNDS), spread(0.4, 0.3))
    fed(guard, [0.4] * 400)
    assert guard.guard_s == 0.020


def test_a_single_answer_that_took_a_minute_does_not_open_it_wide() -> None:
    guard = fed(Guard(BOUNDS), [*[0.05] * 100, 60.0, *[0.05] * 20])
    assert guard.guard_s <= 0.040


def test_it_does_not_change_for_every_answer() -> None:
    guard = Guard(BOUNDS)
    changes = sum(guard.note(took_s) for took_s in spread(0.4, 0.1, count=2_000))
    assert changes < 200
