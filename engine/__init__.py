"""Xinshi (信使): the bulk sending engine for 企业信使 gateways.

For programs:

    import engine

    async with engine.open("xinshi.toml") as xinshi:
        campaign = await xinshi.plan(rows, text="{姓名}您好，春季新品到店", signature="某某商城")
        async for event in campaign.events():
            print(event)

`rows` are mappings of cells by column, or numbers alone, from any iterable or async iterable. What a name here stands for is
imported when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.errors import EngineError as EngineError
    from engine.events import BatchAccepted as BatchAccepted
    from engine.events import BatchInDoubt as BatchInDoubt
    from engine.events import BatchRefused as BatchRefused
    from engine.events import Doubtful as Doubtful
    from engine.events import DoubtSettled as DoubtSettled
    from engine.events import Ended as Ended
    from engine.events import Event as Event
    from engine.events import LowBalance as LowBalance
    from engine.events import Paused as Paused
    from engine.events import Planned as Planned
    from engine.events import Reported as Reported
    from engine.events import Resumed as Resumed
    from engine.events import Started as Started
    from engine.ledger.summary import CampaignSummary as CampaignSummary
    from engine.library import Campaign as Campaign
    from engine.library import Engine as Engine
    from engine.library import open as open
    from engine.orders.spool import Row as Row
    from engine.orders.spool import Rows as Rows

__version__ = "0.1.0"

_EVENTS = (
    "BatchAccepted",
    "BatchInDoubt",
    "BatchRefused",
    "DoubtSettled",
    "Doubtful",
    "Ended",
    "Event",
    "LowBalance",
    "Paused",
    "Planned",
    "Reported",
    "Resumed",
    "Started",
)
_HOMES = {
    **dict.fromkeys(_EVENTS, "engine.events"),
    **dict.fromkeys(("Campaign", "Engine", "open"), "engine.library"),
    **dict.fromkeys(("Row", "Rows"), "engine.orders.spool"),
    "CampaignSummary": "engine.ledger.summary",
    "EngineError": "engine.errors",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
