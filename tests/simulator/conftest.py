"""A simulator on a real socket and a client for it. Every async test here runs on asyncio's loop and on uvloop's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import aiohttp
import pytest
import uvloop

from engine.simulator import Simulator, SimulatorSettings
from tests.simulator.client import Client


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> SimulatorSettings:
    """The defaults, or what `@pytest.mark.parametrize("settings", [...], indirect=True)` gives as a dict."""
    return SimulatorSettings(**{"report_delay_s": 0.0, **getattr(request, "param", {})})


@pytest.fixture
async def sim(settings: SimulatorSettings) -> AsyncIterator[Simulator]:
    async with Simulator(settings) as simulator:
        yield simulator


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield Client(session, sim)
