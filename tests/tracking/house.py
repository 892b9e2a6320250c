"""An engine in this process, a real journal, the simulator on a real socket."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.gateway.polls import Polled
from engine.gateway.wire import read_reports
from engine.journal.port import PollKind
from engine.ledger.summary import CampaignSummary
from engine.live import Live, Stop
from engine.orders.pipeline import Pipeline
from engine.orders.plans import SendOrder
from engine.runtime import Engine
from engine.settings import Settings, load_settings
from engine.simulator import Simulator
from engine.tracking import Barred, Poller, Seam, Waits
from tests.numbers import mobiles

TEXT = "【测试】春季新品已经到店"
_SETTINGS = """
[account]
url = "{url}"
[journal]
url = "{journal}"
[pace]
requests_per_second = 0
in_flight = {in_flight}
[batch]
max_recipients = {batch}
distinct_sizes = false
[timeouts]
answer_s = 5
[retry]
attempts = 4
wait_s = 0.001
wait_max_s = 0.002
[tracking]
enabled = {enabled}
report_interval_s = {interval_s}
reply_interval_s = {interval_s}
"""


def stops() -> Stop:
    """A run that nobody stops, so far."""
    return Stop(gently=asyncio.Event(), now=asyncio.Event())


@dataclass(frozen=True, kw_only=True)
class House:
    """A folder with settings and a journal, for one simulated gateway."""

    folder: Path
    sim: Simulator

    def settings(
        self,
        *,
        journal: str = "xinshi.db",
        batch: int = 100,
        in_flight: int = 4,
        enabled: bool = True,
        interval_s: float = 3600,
        more: str = "",
    ) -> Settings:
        """Polls that found little are not repeated within a test, unless it says otherwise. `more`: of tracking, and sections."""
        file = self.folder / "xinshi.toml"
        file.write_text(
            _SETTINGS.format(
                url=self.sim.url,
                journal=journal,
                batch=batch,
                in_flight=in_flight,
                enabled=str(enabled).lower(),
                interval_s=interval_s,
            )
            + more
        )
        environ = {"XINSHI_ACCOUNT__PASSWORD": "demo", "XDG_STATE_HOME": str(self.folder)}
        return load_settings(file, overrides={}, environ=environ)

    @asynccontextmanager
    async def engine(self, settings: Settings | None = None) -> AsyncIterator[Engine]:
        async with Engine.open(settings or self.settings(), "default") as engine:
            yield engine

    def listed(self, numbers: list[str]) -> SendOrder:
        """An order for these numbers."""
        file = self.folder / "list.csv"
        file.write_text("手机号\n" + "\n".join(numbers) + "\n", encoding="utf-8")
        return SendOrder(files=(file,), text=TEXT, campaign="spring")

    async def planned(self, engine: Engine, numbers: list[str]) -> Any:
        """Their campaign, not sent yet."""
        order = self.listed(numbers)
        with Pipeline(order.files) as reading:
            return await engine.publish(await engine.plan(order, reading, Live()))

    async def sent(self, engine: Engine, numbers: list[str]) -> CampaignSummary:
        """Plan and send."""
        return await engine.run(await self.planned(engine, numbers), live=Live(), stop=stops())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What is on the disk."""
        with closing(sqlite3.connect(f"file:{self.folder / 'xinshi.db'}?mode=ro", uri=True)) as beside:
            return beside.execute(query).fetchall()

    def poller(self, engine: Engine, *, most: int = 1000, read: Any = None) -> Poller:
        """A poller of reports with a seam that a test can look into."""
        gate = engine.gate

        def understand(body: bytes, charset: str | None) -> Polled:
            return read_reports(body, charset, gate.profile)

        seam = Seam(
            account=engine.account_key,
            ask=gate.http.reports,
            read=read or understand,
            journal=engine.journal,
            most=lambda: most,
            clock=gate.http._clock,
            barred=Barred(),
        )
        waits = Waits(interval_s=3600, failure_s=0.001, failure_max_s=0.002, failures_most=3)
        return Poller(PollKind.REPORT, seam, waits)


def people(count: int, seed: int = 1) -> list[str]:
    return mobiles(count, seed)
