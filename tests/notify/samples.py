"""Events and a server that takes what is posted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aiohttp import web

from engine.events import Ended, Paused
from engine.model import CampaignState, PauseReason

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
COUNTS = {"planned": 14, "in_flight": 0, "accepted": 986, "refused": 0, "in_doubt": 0, "cancelled": 0, "expired": 0}


def paused(*reasons: PauseReason, waits: bool = False, campaign: str = "spring") -> Paused:
    return Paused(
        campaign=campaign,
        at=NOW,
        state=CampaignState.PAUSED,
        reasons=reasons,
        recipients=COUNTS,
        charged=Decimal(986),
        remaining=Decimal("4014.5"),
        waits=waits,
    )


def ended() -> Ended:
    return Ended(
        campaign="spring",
        at=NOW,
        state=CampaignState.FINISHED,
        reasons=(),
        recipients={**COUNTS, "planned": 0, "accepted": 1000},
        charged=Decimal(1000),
        remaining=None,
    )


class Receiver:
    """A robot and a webhook on loopback: it notes what comes, and answers as told."""

    def __init__(self) -> None:
        self.url = ""
        self.queries: list[dict[str, str]] = []
        self.messages: list[dict[str, Any]] = []
        self.answers: list[tuple[int, str]] = []  # the next ones; then (200, errcode 0)

    async def answer(self, request: web.Request) -> web.Response:
        self.queries.append(dict(request.query))
        self.messages.append(json.loads(await request.read()))
        status, text = self.answers.pop(0) if self.answers else (200, '{"errcode":0,"errmsg":"ok"}')
        return web.Response(status=status, text=text)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """The receiver at any path, until the block ends."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield receiver
    finally:
        await runner.cleanup()
