"""Forbidden values are found in few checks: none lost, none twice, nobody accused who is clean alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.planning.bisecting import SEPARATOR, Found, find_bad, joined, probes
from engine.planning.segments import units

NAMES = st.text(alphabet="王芳李明张伟刘洋陈静abc", min_size=1, max_size=6)


class Gateway:
    """Forbids some values, and keeps what it was asked."""

    def __init__(self, forbidden: set[str], *, answers: int | None = None) -> None:
        self.forbidden, self.asked, self._answers = forbidden, list[str](), answers

    async def __call__(self, group: Sequence[str]) -> bool | None:
        if self._answers is not None and len(self.asked) >= self._answers:
            return None
        self.asked.append(joined(group))
        return any(value in self.forbidden for value in group)


async def found(values: Sequence[str], forbidden: set[str], *, most_units: int = 500) -> tuple[Found, Gateway]:
    gateway = Gateway(forbidden)
    return await find_bad(values, gateway, most_units=most_units), gateway


@given(st.lists(NAMES, min_size=1, max_size=400), st.data())
async def test_every_bad_value_is_found_once_in_few_checks(values: list[str], data: st.DataObject) -> None:
    distinct = list(dict.fromkeys(values))
    forbidden = set(data.draw(st.lists(st.sampled_from(distinct), max_size=12, unique=True)))
    most_units = data.draw(st.sampled_from([60, 200, 500, 10_000]))
    result, gateway = await found(values, forbidden, most_units=most_units)

    assert result.bad == tuple(value for value in distinct if value in forbidden)
    assert (result.unknown, result.checks) == ((), len(gateway.asked))
    c = 2 * len(probes(distinct, most_units=most_units)) + 4
    assert result.checks <= len(forbidden) * ceil(log2(max(2, len(distinct)))) + c
    assert all(units(probe) <= max(most_units, 6) for probe in gateway.asked)
    assert forbidden <= set(gateway.asked)  # each was asked alone


@pytest.mark.parametrize(("size", "bad"), [(1_000, 1), (1_000, 3), (1_000, 20), (20_000, 5), (64, 64), (1, 1)])
async def test_the_bound_at_some_sizes(size: int, bad: int) -> None:
    values = [f"客户{at}" for at in range(size)]
    forbidden = set(values[:: max(1, size // bad)][:bad])
    result, _ = await found(values, forbidden)
    groups = len(probes(values, most_units=500))
    assert set(result.bad) == forbidden
    assert result.checks <= bad * ceil(log2(max(2, size))) + 2 * groups + 4


async def test_clean_values_cost_a_check_a_probe() -> None:
    values = [f"客户{at}" for at in range(300)]
    result, gateway = await found(values, set())
    assert (result.bad, result.checks) == ((), len(probes(values, most_units=500)))
    assert len(gateway.asked) < 10


async def test_who_is_clean_alone_is_never_accused() -> None:
    """A filter that looks through the border: two names together make a word, and neither is one."""

    async def is_bad(group: Sequence[str]) -> bool:
        return {"兼", "职"} <= set(group)

    result = await find_bad(["兼", "王芳", "职", "李明"], is_bad, most_units=500)
    assert result.bad == ()


@pytest.mark.parametrize("answers", range(12))
async def test_what_cannot_be_asked_is_told_and_not_guessed(answers: int) -> None:
    values = [f"客户{at}" for at in range(50)]
    gateway = Gateway({values[7], values[33]}, answers=answers)
    result = await find_bad(values, gateway, most_units=500)
    assert set(result.bad) | set(result.unknown) >= {values[7], values[33]}
    assert set(result.bad) <= {values[7], values[33]}
    assert len(set(result.unknown)) == len(result.unknown)


async def test_no_more_checks_than_allowed() -> None:
    values = [f"客户{at}" for at in range(5_000)]
    gateway = Gateway(set(values[::100]))
    result = await find_bad(values, gateway, most_units=500, most_checks=60)
    assert len(gateway.asked) == 60
    assert set(result.bad) | set(result.unknown) >= gateway.forbidden


def test_a_probe_keeps_values_apart_and_within_the_limit() -> None:
    groups = probes(["甲" * 200, "乙" * 200, "丙" * 200, "丁" * 900], most_units=500)
    assert [len(group) for group in groups] == [2, 1, 1]
    assert joined(groups[0]) == "甲" * 200 + SEPARATOR + "乙" * 200
