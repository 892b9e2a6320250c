"""The set of numbers that the reader asks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.intake import Seen
from tests.numbers import mobiles

pool = mobiles(30)


@given(st.lists(st.lists(st.sampled_from(pool))))
def test_exactly_the_repetitions_are_named(stretches: list[list[str]]) -> None:
    seen = Seen()
    known: set[str] = set()
    for stretch in stretches:
        repeats = []
        for at, mobile in enumerate(stretch):
            if mobile in known:
                repeats.append(at)
            known.add(mobile)
        assert seen.admit(stretch) == repeats
    assert len(seen) == len(known)
    assert all((mobile in seen) == (mobile in known) for mobile in pool)
