"""What is remembered of a run, so that its reports are known among those of others."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from engine.runs.canary import Tasks

ids = st.one_of(
    st.integers(0, 40).map(str),
    st.sampled_from([str(each) for power in (31, 32, 63, 64) for each in range(2**power - 2, 2**power + 2)]),
    st.sampled_from(
        ["", "0", "00", "01", "1 ", " 1", "1\n", "+1", "-1", "1_0", "１", "٣", "9" * 19, "9" * 20, "a1", "1.0"]
    ),
    st.text(max_size=3),
)


@given(st.lists(ids), st.lists(ids))
def test_exactly_the_ids_that_were_added_are_known(added: list[str], others: list[str]) -> None:
    tasks = Tasks()
    for each in added:
        tasks.add(each)
    assert [each in tasks for each in [*added, *others]] == [each in set(added) for each in [*added, *others]]
    assert None not in tasks


def test_ids_that_are_counted_up_take_next_to_no_memory() -> None:
    tasks = Tasks()
    tracemalloc.start()
    try:
        for each in range(10**9, 10**9 + 20_000):
            tasks.add(str(each))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 20_000  # a set of texts: two million
