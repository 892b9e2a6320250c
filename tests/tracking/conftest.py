from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.simulator import Simulator, SimulatorSettings
from tests.tracking.house import House


@pytest.fixture
async def house(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """A gateway whose reports are there at once; `@pytest.mark.parametrize("house", [{...}], indirect=True)` changes it."""
    settings = SimulatorSettings(**{"report_delay_s": 0.0, **getattr(request, "param", {})})
    async with Simulator(settings) as sim:
        yield House(folder=tmp_path, sim=sim)
