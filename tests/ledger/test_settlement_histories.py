"""Settlement never contradicts the truth, in random histories of an account. Shares and speed are printed (pytest -s)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from random import Random
from time import process_time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.ledger.evidence import Finding, Policy, Stretch
from engine.ledger.settlement import settle
from tests.ledger.histories import History, World, simulate

# What nobody tells of is not a whole number, so that it never looks like a batch: two histories with the same rows cannot
# be told apart by anyone.
FOREIGN, REFUND = Decimal("3.37"), Decimal("2.31")

share = st.floats(0, 1)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    short = draw(st.sampled_from([0.0, 0.0, 0.3]))
    tells_bought = draw(st.booleans())
    # A top-up that nobody tells of must be larger than what the gaps can hide.
    top_up = st.sampled_from([30, 97, 50_000] if tells_bought else [50_000])
    latency = draw(st.sampled_from([(0.05, 0.15), (0.01, 2.0)]))
    return World(
        batches=draw(st.sampled_from([4, 10, 30, 80, 150])),
        workers=draw(st.sampled_from([1, 2, 4, 16])),
        latency=latency,
        pause=draw(st.sampled_from([0.0, 0.5])),
        lost=draw(st.sampled_from([0.05, 0.1, 0.2, 0.5])),
        timeouts=draw(st.sampled_from([0.0, 0.5, 1.0])),
        late=draw(st.sampled_from([0.0, 0.5, 1.0])),
        sizes=draw(st.sampled_from(["equal", "cycle", "random"])),
        most=draw(st.sampled_from([100, 100, 30, 8])),
        different=draw(st.sampled_from([2, 6])),
        short=short,
        no_remaining=draw(st.sampled_from([0.0, 0.0, 0.1])),
        price=draw(st.sampled_from([Decimal(1), Decimal(1), Decimal(2), Decimal("0.08")])),
        lag_s=draw(st.sampled_from([0.0, 1.0])),
        read_every_s=draw(st.sampled_from([0.0, 1.0, 3.0])),
        tells_bought=tells_bought,
        top_ups=tuple(draw(st.lists(st.tuples(share, top_up), max_size=1))),
        foreign=tuple((at, FOREIGN) for at in draw(st.lists(share, max_size=1))),
        refunds=tuple((at, REFUND) for at in draw(st.lists(share, max_size=1))) if draw(st.booleans()) else (),
        policy=Policy(
            min_age_s=draw(st.sampled_from([0.5, 3.0, 60.0])),
            balance_settle_s=draw(st.sampled_from([1.0, 5.0])),
            short_counts=short > 0,
            short_bound=draw(st.sampled_from([5, 20])),
            whole_answers_needed=draw(st.sampled_from([0, 20])),
        ),
    )


QUIET_WORLD = World(batches=60, lost=0.2)
seeds = st.integers(0, 2**32)
looks = st.lists(share, min_size=1, max_size=4)


def settled_wrongly(history: History, stretch: Stretch) -> list[str]:
    taken = history.taken
    return [
        verdict.evidence
        for verdict in settle(stretch).verdicts
        if verdict.finding is not Finding.OPEN and (verdict.finding is Finding.TAKEN) is not taken[verdict.key]
    ]


@example(QUIET_WORLD, 1, [0.5])
@given(worlds(), seeds, looks)
def test_settlement_never_contradicts_the_truth_at_any_moment(world: World, seed: int, moments: list[float]) -> None:
    history = simulate(world, seed)
    for share_of_time in (*moments, 1.0):
        assert settled_wrongly(history, history.at(share_of_time * history.end)) == []


@given(seeds, looks, st.sampled_from(["equal", "cycle", "random"]), st.sampled_from([0.0, 0.5, 1.0]))
def test_settlement_never_contradicts_the_truth_where_the_chain_is_on(
    seed: int, moments: list[float], sizes: str, timeouts: float
) -> None:
    world = replace(QUIET_WORLD, sizes=sizes, timeouts=timeouts, late=0.5, batches=80, different=5)
    history = simulate(world, seed)
    for share_of_time in (*moments, 1.0):
        assert settled_wrongly(history, history.at(share_of_time * history.end)) == []


@given(worlds(), seeds, seeds, share)
def test_any_order_of_the_rows_gives_the_same(world: World, seed: int, order: int, look: float) -> None:
    history = simulate(world, seed)
    stretch = history.at(look * history.end)
    random = Random(order)
    rows = {name: list(getattr(stretch, name)) for name in ("answered", "doubts", "in_flight", "reads")}
    for each in rows.values():
        random.shuffle(each)
    assert settle(replace(stretch, **rows)) == settle(stretch)


@given(worlds(), seeds, st.lists(share, min_size=2, max_size=6).map(sorted))
def test_later_evidence_never_flips_a_verdict(world: World, seed: int, moments: list[float]) -> None:
    history = simulate(world, seed)
    known: dict[object, Finding] = {}
    for share_of_time in moments:
        for verdict in settle(history.at(share_of_time * history.end)).verdicts:
            if verdict.finding is not Finding.OPEN:
                assert known.setdefault(verdict.key, verdict.finding) is verdict.finding


def settled_share(world: World, *, seeds: int = 8) -> tuple[float, int]:
    """The share of the doubts that the balance settles by itself after everything, and how many wrongly."""
    doubts = settled = wrong = 0
    for seed in range(seeds):
        history = simulate(world, seed)
        stretch = history.at(history.end)
        verdicts = settle(stretch).verdicts
        doubts += len(verdicts)
        settled += sum(verdict.finding is not Finding.OPEN for verdict in verdicts)
        wrong += len(settled_wrongly(history, stretch))
    return settled / doubts, wrong


@pytest.mark.parametrize(
    ("name", "world", "at_least"),
    [
        ("resets, 16 sizes", World(), 0.95),
        ("resets, 31 sizes", World(different=31), 0.97),
        ("resets, 16 sizes, 10 % lost", World(lost=0.1), 0.75),
        ("resets, all equal", World(sizes="equal"), 0.25),
        ("timeouts of 3 s, 16 sizes, none taken late", World(timeouts=1, policy=Policy(min_age_s=0.01)), 0.60),
        ("timeouts of 3 s, 16 sizes, patience of 3 s", World(timeouts=1), 0.45),
        ("timeouts of 3 s, 64 sizes below 500", World(timeouts=1, most=500, different=64), 0.80),
        ("timeouts at 20 requests a second, 16 sizes, half taken late", World(timeouts=1, late=0.5, pause=1.5), 0.60),
        ("short counts, resets, 16 sizes", World(short=0.02), 0.10),
    ],
)
def test_the_balance_alone_settles_most_doubts(name: str, world: World, at_least: float) -> None:
    found, wrong = settled_share(world)
    print(f"\n{name}: {found:.1%} settled by the balance alone, {wrong} wrongly")
    assert wrong == 0
    assert found >= at_least


@pytest.mark.parametrize(
    "world",
    [
        World(batches=10_500),
        World(batches=10_500, timeouts=1, policy=Policy(min_age_s=180)),
        World(batches=10_500, timeouts=1, short=0.02, policy=Policy(min_age_s=180)),
    ],
    ids=["resets", "timeouts", "short"],
)
def test_ten_thousand_answers_and_five_hundred_doubts_take_seconds(world: World) -> None:
    history = simulate(world, 1)
    stretch = history.at(history.end)
    begin = process_time()
    settlement = settle(stretch)
    took = process_time() - begin
    print(f"\n{len(stretch.answered)} answers, {len(settlement.verdicts)} doubts: {took:.2f} s")
    assert took < 20  # seconds; quadratic work would take minutes
