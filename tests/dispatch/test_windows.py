"""A window keeps its limit while limit, length and guard change; a bucket spreads and bounds nothing."""

from __future__ import annotations

import math
from bisect import bisect_left

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dispatch.windows import NEVER, NO_LIMIT, Bucket, WindowLog


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[tuple[int, int, int | None]]]:
    """A first limit, and what happens: (ticks after the one before, amount, a new limit or none)."""
    step = st.tuples(st.integers(0, 6), st.integers(1, 3), st.none() | st.integers(3, 12))
    return draw(st.integers(3, 12)), draw(st.lists(step, min_size=2, max_size=60))


@settings(deadline=None)
@given(histories())
def test_a_window_across_a_change_keeps_to_the_lower_of_both_limits(
    history: tuple[int, list[tuple[int, int, int | None]]],
) -> None:
    window, (limit, steps) = 10, history
    log, now = WindowLog(limit, window), 0.0
    held, left = [(0.0, limit)], list[tuple[float, int, int]]()
    for gap, amount, other in steps:
        now += gap
        if other is not None:
            log.change(other, window, now)
            held.append((now, other))
        while (at := log.free_at(now, amount)) > now:
            now = at
        log.add(now, amount)
        left.append((now, amount, len(held)))
    times = [at for at, *_ in left]
    for last, (end, _, said) in enumerate(left):
        begin = end - window + 1e-6
        inside = sum(amount for _, amount, _ in left[bisect_left(times, begin) : last + 1])
        # A limit holds from its change to the next one; where it touches the window, it counts.
        until = [at for at, _ in held[1:said]] + [math.inf]
        assert inside <= min(limit for (_, limit), over in zip(held[:said], until, strict=True) if over > begin)


def test_a_lower_limit_holds_for_the_next_one() -> None:
    log = WindowLog(10, 1.0)
    for _ in range(5):
        log.add(0.0, 1)
    log.change(5, 1.0, 0.1)
    assert log.free_at(0.1, 1) == 1.0


def test_a_higher_limit_holds_in_full_a_window_later() -> None:
    log = WindowLog(1, 1.0)
    log.add(0.0, 1)
    log.change(10, 1.0, 0.5)
    assert log.free_at(0.5, 1) == 1.0  # as before
    log.add(1.0, 1)
    assert log.free_at(1.0, 1) == 1.5  # from then on no window began before the change
    assert log.free_at(1.5, 9) == 1.5


def test_no_limit_is_at_once() -> None:
    log = WindowLog(1, 1.0)
    log.add(0.0, 1)
    log.change(NO_LIMIT, 1.0, 0.5)
    assert log.free_at(0.5, 1_000) == 0.5


def test_a_window_that_grows_finds_what_it_needs_of_the_past() -> None:
    log = WindowLog(2, 1.0, keep_s=2.0)
    log.add(0.0, 1)
    log.add(0.1, 1)
    assert log.free_at(1.2, 1) == 1.2
    log.change(2, 1.5, 1.2)
    assert log.free_at(1.2, 1) == 1.5


def test_the_last_one_is_never_forgotten() -> None:
    log = WindowLog(10, 1.0, keep_s=1.0)
    log.add(0.0, 1)
    assert log.free_at(50.0, 1) == 50.0
    log.change(1, 100.0, 50.0)  # 0.01 a second
    assert log.free_at(50.0, 1) == 100.0


def test_who_was_let_in_and_has_not_left_takes_its_place() -> None:
    log = WindowLog(3, 1.0)
    log.add(0.0, 1)
    assert log.free_at(0.2, 1, pending=1) == 0.2
    assert log.free_at(0.2, 1, pending=2) == 1.0
    assert log.free_at(0.2, 1, pending=3) == NEVER  # until one of them leaves


def test_a_bucket_lets_a_burst_go_and_then_the_rate() -> None:
    bucket, now, went = Bucket(10, 2, 0.0), 0.0, []
    for _ in range(12):
        now = bucket.free_at(now)
        bucket.add(now)
        went.append(round(now, 6))
    assert went == [0.0, 0.0, *(round(n / 10, 6) for n in range(1, 11))]


def test_a_bucket_that_is_slowed_down_goes_slower_at_once() -> None:
    bucket = Bucket(10, 1, 0.0)
    bucket.add(0.0)
    bucket.change(1, 1, 0.0)
    assert bucket.free_at(0.0) == 1.0


def test_without_a_limit_a_crowd_is_kept_as_a_few_and_a_limit_set_later_counts_all_of_it() -> None:
    log = WindowLog(NO_LIMIT, 1.0)
    for place in range(1_000):
        log.add(place * 0.00001, 1)
    assert len(log._inside) <= 11
    assert log.rate(0.01) == 1_000
    log.change(1_000, 1.0, 0.01)
    assert 1.0 <= log.free_at(0.01, 1) <= 1.002  # none of them is forgotten too soon
