"""When a run ends: the middle is right for an even pace, the range covers what an uneven one does."""

from __future__ import annotations

import random

import pytest

from engine.dispatch.forecast import MOST_STRETCHES, Ends, Forecast, in_words


def run(steps: list[tuple[float, int]]) -> Forecast:
    forecast = Forecast()
    for at, amount in steps:
        forecast.note(at, amount)
    return forecast


def even(seconds: float, each_s: float = 0.1, amount: int = 100) -> list[tuple[float, int]]:
    return [(n * each_s, amount) for n in range(int(seconds / each_s))]


@pytest.mark.parametrize("seconds", [5, 60, 3_600])
def test_an_even_pace_ends_when_it_must(seconds: float) -> None:
    ends = run(even(seconds)).ends(seconds, 50_000)
    assert ends is not None
    assert ends.in_s == pytest.approx(50, rel=0.1)
    assert ends.earliest_s <= ends.in_s <= ends.latest_s
    assert ends.latest_s - ends.earliest_s < 0.35 * ends.in_s


def test_nothing_is_said_too_early() -> None:
    assert Forecast().ends(0.0, 10) is None
    assert run([(0.0, 100), (0.1, 100)]).ends(0.2, 10_000) is None
    assert run([(0.0, 0)]).ends(60, 10_000) is None


def test_few_samples_make_a_wide_range() -> None:
    early, late = (run(even(seconds)).ends(seconds, 50_000) for seconds in (1.0, 30.0))
    assert early is not None
    assert late is not None
    assert early.latest_s - early.earliest_s > 2 * (late.latest_s - late.earliest_s)


@pytest.mark.parametrize("seed", range(5))
def test_the_range_covers_what_an_uneven_pace_really_takes(seed: int) -> None:
    chance = random.Random(seed)
    at, steps = 0.0, []
    for _ in range(4_000):
        at += chance.expovariate(1 / 0.05)
        steps.append((at, chance.randint(1, 100)))
    half = len(steps) // 2
    ends = run(steps[:half]).ends(steps[half][0], sum(amount for _, amount in steps[half:]))
    assert ends is not None
    assert ends.earliest_s <= steps[-1][0] - steps[half][0] <= ends.latest_s


def test_a_pace_that_breaks_down_is_seen_before_long() -> None:
    forecast = run(even(60))
    for n in range(120):
        forecast.note(60 + n, 10)
    ends = forecast.ends(180, 1_000)
    assert ends is not None
    assert 60 < ends.in_s < 200


def test_a_long_run_costs_no_memory() -> None:
    forecast = run([(float(n), 1) for n in range(100_000)])
    assert len(forecast._done) <= MOST_STRETCHES


def test_a_run_that_may_never_end_says_so() -> None:
    forecast = run([(0.0, 1_000)])
    ends = forecast.ends(3.0, 1_000)
    assert ends is not None
    assert ends.latest_s == float("inf")
    assert "later" in in_words(ends, 1_700_000_000)


def test_the_words_name_a_time_and_a_range() -> None:
    words = in_words(Ends(in_s=3_600, earliest_s=3_000, latest_s=4_200), 1_700_000_000)
    assert words.startswith("ends 07:13 (07:03–07:23)")  # of China: 22:13:20 UTC and an hour
    assert words.count(":") == 3
    assert "–" in words
