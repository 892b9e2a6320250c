"""A desk with a fresh gateway for every test. What a test leaves running is ended by its process id."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.simulator import Simulator, SimulatorSettings
from tests.cli.desk import PASSWORD, Desk


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> SimulatorSettings:
    """The defaults, or what `@pytest.mark.parametrize("settings", [...], indirect=True)` gives as a dict."""
    return SimulatorSettings(**{"password": PASSWORD, "points": 5_000, "seed": 1, **getattr(request, "param", {})})


@pytest.fixture
async def desk(tmp_path: Path, settings: SimulatorSettings) -> AsyncIterator[Desk]:
    async with Simulator(settings) as sim:
        desk = Desk(folder=tmp_path, sim=sim)
        desk.configure()
        yield desk
        for process in desk.started:
            if process.returncode is None:
                process.kill()
                await process.communicate()
