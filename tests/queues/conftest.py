from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.queues.brokers import BROKERS, Broker, missing, running


@pytest.fixture(scope="session")
def started() -> Iterator[Callable[[str], Broker]]:
    """Starts each broker once for the whole run. What this machine cannot start is skipped, with the reason."""
    brokers: dict[str, Broker] = {}
    with ExitStack() as stack:

        def start(name: str) -> Broker:
            if reason := missing(name):
                pytest.skip(reason)
            if name not in brokers:
                brokers[name] = stack.enter_context(running(name))
            return brokers[name]

        yield start


@pytest.fixture(params=list(BROKERS))
def broker(request: pytest.FixtureRequest, started: Callable[[str], Broker]) -> Broker:
    """Each broker in turn."""
    return started(request.param)


@pytest.fixture
def valkey(started: Callable[[str], Broker]) -> Broker:
    """The quickest of them, where it does not matter which."""
    return started("redis")


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """A queue nobody has used yet."""
    return f"q{abs(hash(request.node.name))}"
