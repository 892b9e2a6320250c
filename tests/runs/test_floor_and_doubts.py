"""Points that are kept for doubts are there again when the doubts have ended: nobody waits for them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from engine.clock import Clocks
from engine.ledger.summary import CampaignSummary
from engine.library import Engine
from engine.model import CampaignState
from engine.orders.conduct import Wish
from engine.runtime import Engine as Machinery
from engine.settings import load_settings
from engine.simulator import Fault, Simulator, SimulatorSettings
from tests.dispatch import virtual
from tests.numbers import mobiles

BEGIN = datetime(2026, 3, 5, 2, 0, tzinfo=UTC)
PEOPLE, KEPT, PACE = 300, 20, 1.0


async def sent(folder: Path, patience_s: float) -> tuple[CampaignSummary, Decimal]:
    """A campaign that needs every point above the floor, at a gateway that loses requests; and what is left in the end."""
    time = asyncio.get_running_loop().time  # also asked in threads

    def wall() -> datetime:
        return BEGIN + timedelta(seconds=time())

    clocks = Clocks(wall=wall, passing=lambda: 1_000 + time(), monotonic=time)
    how = SimulatorSettings(latency_s=0.05, seed=3, points=PEOPLE + KEPT, faults={Fault.RESET_BEFORE: 0.2})
    async with Simulator(how, wall=lambda: wall().timestamp(), monotonic=time) as sim:
        given: dict[str, object] = {
            "account.url": sim.url,
            "account.password": "demo",
            "journal.url": folder / "xinshi.db",
            "pace.requests_per_second": PACE,
            "batch.max_recipients": 10,
            "settlement.min_age_s": patience_s,
            "settlement.balance_settle_s": 0.5,
            "breaker.doubts": 20,
        }
        settings = load_settings(None, overrides=given, environ={"HOME": str(folder), "XDG_STATE_HOME": str(folder)})
        async with Machinery.open(settings, "default", clocks=clocks) as machinery:
            campaign = await Engine(machinery).plan(mobiles(PEOPLE), text="【测试】春季新品到店", name="spring")
            record = await machinery.journal.find_campaign(name="spring")
            assert record is not None
            await machinery.decide(record, Wish(at=wall(), keep_points=Decimal(KEPT)))
            summary = await campaign.run()
            assert set(sim.truth()["mobiles"].values()) == {1}  # type: ignore[attr-defined]
            left = (await machinery.gate.balance()).remaining
            assert left is not None
            return summary, left


@pytest.mark.timeout(300)
@pytest.mark.parametrize("patience_s", [3, 180], ids=["ended while it was sent", "ended at the floor"])
def test_a_run_at_the_floor_goes_on_when_the_doubts_it_kept_points_for_have_ended(
    tmp_path: Path, patience_s: float
) -> None:
    summary, left = virtual.run(sent(tmp_path, patience_s))
    assert (summary.state, summary.reasons) == (CampaignState.FINISHED, ())
    assert summary.recipients["accepted"] == PEOPLE
    assert left == KEPT
