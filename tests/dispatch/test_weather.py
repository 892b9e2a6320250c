"""A few seeds of the weather: runs with everything in them that can happen to a run. `python -m tests.dispatch.weather` has more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dispatch.weather import of_seed

SEEDS = (8, 172, 188)  # 8 and 172 held a batch twice that a silence had turned back, while its release named no attempt


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_in_all_weathers_nobody_is_reached_twice_lost_or_held_by_a_run_that_is_over(tmp_path: Path, seed: int) -> None:
    world = of_seed(seed, tmp_path, runs=2)
    assert world.vendor.taken
