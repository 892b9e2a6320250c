"""Down at once, up again little by little, never above what the operator allows, and never down for nothing."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dispatch.adaptive import SLOWEST, Most, Patience, Throttle

PATIENCE = Patience(rounds=5, wait_s=0.5, wait_max_s=10)


def a_throttle(per_second: float = 10, in_flight: int = 16) -> Throttle:
    return Throttle(Most(per_second=per_second, in_flight=in_flight), PATIENCE)


def told(throttle: Throttle, at: float, *, retry_after_s: float | None = None, per_second: float = 10) -> None:
    """A request that left a moment ago is told "too often"."""
    throttle.throttled(at, left_s=at - 0.001, per_second=per_second, retry_after_s=retry_after_s)


def answers(throttle: Throttle, begin: float, end: float, *, took_s: float = 0.05, each_s: float = 0.1) -> None:
    at = begin
    while at < end:
        throttle.answered(at, left_s=at - took_s, took_s=took_s)
        at += each_s


# ── "too often" ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_held_back_while_the_gateway_says_nothing() -> None:
    throttle = a_throttle()
    answers(throttle, 0, 60)
    assert (throttle.per_second, throttle.in_flight, throttle.rounds) == (None, 16, 0)
    assert throttle.held_until_s == -math.inf


def test_too_often_brings_pace_and_concurrency_down() -> None:
    throttle = a_throttle()
    told(throttle, 5.0)
    assert throttle.per_second == pytest.approx(7)
    assert throttle.in_flight == 11
    assert throttle.held_until_s == -math.inf  # going slower may be enough
    told(throttle, 6.0)
    assert throttle.per_second == pytest.approx(4.9)
    assert throttle.held_until_s == pytest.approx(6.5)


def test_what_left_before_the_cut_cuts_no_second_time() -> None:
    throttle = a_throttle()
    told(throttle, 5.0)
    for late in range(10):
        throttle.throttled(5.1 + late / 100, left_s=4.9, per_second=10, retry_after_s=None)
    assert (throttle.rounds, throttle.per_second) == (1, pytest.approx(7))


def test_retry_after_holds_the_whole_account_and_a_later_word_only_lengthens_it() -> None:
    throttle = a_throttle()
    told(throttle, 5.0, retry_after_s=60)
    throttle.throttled(5.1, left_s=4.9, per_second=10, retry_after_s=30)
    assert throttle.held_until_s == pytest.approx(65)


def test_it_comes_back_little_by_little_and_no_further_than_the_operator_allows() -> None:
    throttle = a_throttle()
    told(throttle, 0.0)
    seen = []
    for second in range(1, 30):
        answers(throttle, second, second + 1)
        seen.append(10.0 if throttle.per_second is None else throttle.per_second)
    steps = [after - before for before, after in pairwise(seen)]
    assert max(steps) <= 0.6
    assert seen == sorted(seen)
    assert (throttle.per_second, throttle.in_flight) == (None, 16)


def test_a_long_silence_is_no_recovery() -> None:
    throttle = a_throttle()
    told(throttle, 0.0)
    throttle.answered(3_600.0, left_s=3_599.9, took_s=0.1)
    assert throttle.per_second == pytest.approx(7.5)


def test_without_a_limit_the_pace_at_the_cut_is_what_counts() -> None:
    throttle = a_throttle(per_second=0)
    told(throttle, 0.0, per_second=400)
    assert throttle.per_second == pytest.approx(280)
    answers(throttle, 1, 200)
    assert throttle.per_second is None


def test_a_gateway_that_says_it_for_ever_is_hopeless_and_one_answer_is_hope() -> None:
    throttle = a_throttle()
    for again in range(4):
        told(throttle, again * 100.0)
    assert not throttle.is_hopeless
    throttle.answered(400.0, left_s=399.9, took_s=0.1)
    for again in range(5):
        told(throttle, 1_000 + again * 100.0)
    assert throttle.is_hopeless
    assert throttle.in_flight >= 1
    assert throttle.per_second is not None
    assert throttle.per_second >= SLOWEST
    throttle.forgive()
    assert not throttle.is_hopeless


def test_waits_grow_to_their_most() -> None:
    throttle, waits = a_throttle(), []
    for again in range(8):
        told(throttle, again * 100.0)
        waits.append(max(0.0, throttle.held_until_s - again * 100))
    assert waits == pytest.approx([0, 0.5, 1, 2, 4, 8, 10, 10])


@pytest.mark.parametrize("allowed", [3.0, 30.0, 70.0])
def test_against_a_gateway_that_allows_less_most_of_what_it_allows_is_used(allowed: float) -> None:
    """A gateway that counts seconds, and a sender that leaves as fast as the throttle lets it."""
    throttle, now, taken, refused = a_throttle(per_second=100), 0.0, 0, 0
    recent: list[float] = []
    while now < 300:
        now = max(now + 1 / (throttle.per_second or 100), throttle.held_until_s)
        recent = [at for at in recent if at > now - 1]
        if len(recent) < allowed:
            recent.append(now)
            taken += 1
            throttle.answered(now + 0.01, left_s=now, took_s=0.01)
        else:
            refused += 1
            throttle.throttled(now + 0.01, left_s=now, per_second=len(recent), retry_after_s=None)
    assert taken / 300 >= 0.75 * allowed
    assert refused <= 0.15 * taken
    assert not throttle.is_hopeless


# ── slow answers ─────────────────────────────────────────────────────────────────────────────────────────────────────


def served(throttle: Throttle, *, seconds: float, answer_s: float, at_once: int, begin: float = 0.0) -> list[int]:
    """A gateway that works at `at_once` requests at a time; whatever more is sent waits. How many are in flight, over time."""
    seen, now = [], begin
    while now < begin + seconds:
        crowd = throttle.in_flight
        took_s = answer_s * max(1.0, crowd / at_once)
        for place in range(crowd):
            throttle.answered(now + took_s + place / 1e6, left_s=now, took_s=took_s)
        now += took_s + crowd / 1e6
        seen.append(throttle.in_flight)
    return seen


def test_a_crowd_that_only_waits_at_the_gateway_becomes_smaller() -> None:
    throttle = a_throttle(in_flight=128)
    served(throttle, seconds=1, answer_s=0.1, at_once=200)  # it has shown what it can
    seen = served(throttle, seconds=60, answer_s=0.1, at_once=8, begin=1.0)
    assert max(seen[-50:]) <= 40
    assert min(seen) >= 1
    assert throttle.is_slowed


def test_it_comes_back_when_the_gateway_does() -> None:
    throttle = a_throttle(in_flight=128)
    served(throttle, seconds=1, answer_s=0.1, at_once=200)
    served(throttle, seconds=10, answer_s=0.1, at_once=8, begin=1.0)
    served(throttle, seconds=60, answer_s=0.1, at_once=200, begin=11.0)
    assert throttle.in_flight == 128


def test_a_gateway_that_is_slower_whatever_is_sent_is_believed_after_one_cut() -> None:
    throttle = a_throttle(in_flight=16)
    answers(throttle, 0, 10, took_s=0.1)
    lowest = 16
    for at in range(100, 900):
        throttle.answered(at / 10, left_s=at / 10 - 1.0, took_s=1.0)  # ten times what it took, at any crowd
        lowest = min(lowest, throttle.in_flight)
    assert lowest >= 8
    assert throttle.in_flight == 16


@pytest.mark.parametrize("seed", range(5))
def test_noise_of_a_loopback_is_no_slowness(seed: int) -> None:
    chance, throttle, now = random.Random(seed), a_throttle(in_flight=64), 0.0
    for _ in range(20_000):
        now += 0.001
        took_s = 0.001 + chance.expovariate(1 / 0.008) + (0.08 if chance.random() < 0.01 else 0.0)
        throttle.answered(now, left_s=now - took_s, took_s=took_s)
        assert throttle.in_flight >= 48


# ── whatever happens ─────────────────────────────────────────────────────────────────────────────────────────────────

EVENTS = st.lists(
    st.tuples(st.sampled_from(["told", "answered", "allow"]), st.floats(0, 5), st.floats(0, 20)), max_size=80
)


@settings(deadline=None)
@given(limit=st.sampled_from([0.0, 0.5, 10.0, 5_000.0]), in_flight=st.integers(1, 200), events=EVENTS)
def test_it_stays_within_what_the_operator_allows_and_above_nothing(
    limit: float, in_flight: int, events: list[tuple[str, float, float]]
) -> None:
    throttle, now, most = a_throttle(limit, in_flight), 0.0, Most(per_second=limit, in_flight=in_flight)
    for what, gap, number in events:
        now += gap
        match what:
            case "told":
                throttle.throttled(now, left_s=now - number, per_second=number, retry_after_s=None)
            case "answered":
                throttle.answered(now, left_s=now - number, took_s=number)
            case _:
                most = Most(per_second=limit and 1 + number, in_flight=1 + int(number))
                throttle.allow(most)
        assert 1 <= throttle.in_flight <= most.in_flight
        assert throttle.per_second is None or throttle.per_second > 0
        if most.per_second and throttle.per_second is not None:
            assert throttle.per_second <= most.per_second
