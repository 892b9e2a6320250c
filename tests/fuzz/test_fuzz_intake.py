"""The fuzz target over a fixed number of seeds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.fuzz.fuzz_intake import example, one

pytestmark = pytest.mark.usefixtures("forking")

STEP = 70


@pytest.mark.parametrize("first", range(0, 4 * STEP, STEP))
def test_every_file_is_read_or_refused_in_words(tmp_path: Path, first: int) -> None:
    came_to: Counter[str] = Counter()
    for seed in range(first, first + STEP):
        try:
            came_to[one(example(seed), tmp_path)] += 1
        except BaseException as exc:
            exc.add_note(f"seed {seed}")
            raise
    assert came_to["read"] > STEP / 5  # else the files were so bad that nothing was tried
    assert came_to["refused"] > STEP / 10


def test_the_same_seed_gives_the_same_file() -> None:
    assert [example(seed) for seed in range(50)] == [example(seed) for seed in range(50)]
