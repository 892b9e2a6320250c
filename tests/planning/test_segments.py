"""Lengths and what they cost. Source: gateway/protocol.md, Length and billing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.planning import segments, units


@pytest.mark.parametrize(
    ("length", "billed"),
    [(1, 1), (69, 1), (70, 1), (71, 2), (134, 2), (135, 3), (150, 3), (160, 3), (201, 3), (202, 4), (500, 8), (600, 9)],
)
def test_segments_at_the_borders(length: int, billed: int) -> None:
    assert segments(length) == billed


@given(st.integers(1, 5000))
def test_parts_filled_one_after_the_other_come_to_the_same(length: int) -> None:
    parts = [range(at, min(at + 67, length)) for at in range(0, length, 67)]
    assert segments(length) == (1 if length <= 70 else len(parts))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("a", 1),
        ("中", 1),
        ("，", 1),
        ("\n", 1),
        ("😀", 2),
        ("𠮷", 2),
        ("👨‍👩‍👧", 8),
        ("e\u0301", 2),
        ("【品牌】好😀", 7),
    ],
)
def test_units_are_those_of_utf_16(text: str, expected: int) -> None:
    assert units(text) == expected


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_units_agree_with_the_encoder(text: str) -> None:
    assert units(text) == len(text.encode("utf-16-le")) // 2
