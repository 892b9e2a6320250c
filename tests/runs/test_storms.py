"""A few seeds of the storms: orders, stops and faults meet in one campaign. `python -m tests.runs.storms` has more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs.storms import of_seed


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [301, 303])
def test_in_storms_nobody_is_reached_twice_or_lost_and_orders_hold(tmp_path: Path, seed: int) -> None:
    storm, _ = of_seed(seed, tmp_path)
    assert storm.ends
