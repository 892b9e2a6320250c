"""An opt-out recorded at a moment is in no submission that begins later: a thousand of them, at moments of all kinds."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

from engine.dispatch.pool import Pool, Terms
from engine.dispatch.retry import RetryPolicy
from engine.journal.store import SqlJournal
from engine.model import Message, Outcome
from engine.runs.beside import OPT_OUT, carry_out
from engine.runs.control import Order
from engine.tracking import Barred
from tests.dispatch.house import a_lane, accepted, turns, unlimited
from tests.journal.stores import ACCOUNT, planned

BATCHES, IN_A_BATCH, OPT_OUTS = 1_500, 3, 1_000


class Gateway:
    """Takes everything, and keeps at which moment which numbers left."""

    def __init__(self, moments: count[int], chance: random.Random) -> None:
        self._moments, self._chance = moments, chance
        self.left: list[tuple[int, list[str]]] = []

    async def __call__(self, message: Message, mobiles: str, size: int, /) -> Outcome:
        self.left.append((next(self._moments), mobiles.split(",")))
        await turns(self._chance.randrange(12))
        return accepted(size)


async def test_an_opt_out_is_in_no_submission_that_begins_later(journal: SqlJournal) -> None:
    chance, moments = random.Random(4), count()
    campaign_id = await planned(journal, *[IN_A_BATCH] * BATCHES)
    everybody = [
        mobile for _, mobiles in await journal.held_numbers(campaign_id, limit=BATCHES) for mobile in mobiles.split(",")
    ]
    gateway, barred, retry = Gateway(moments, chance), Barred(), RetryPolicy(attempts=3, wait_s=0, wait_max_s=0)
    pool = Pool(
        Terms(
            campaign_id=campaign_id,
            account=ACCOUNT,
            single_text=True,
            price=Decimal(1),
            retry=retry,
            doubts_in_a_row=3,
            refusals_in_a_row=3,
            grace_s=30,
        ),
        journal=journal,
        send=gateway,
        lane=a_lane(in_flight=4, pace=unlimited(), retry=retry),
        wall_clock=lambda: datetime.now(UTC),
        lease_clock=lambda: 0.0,
        on_settled=lambda settled: None,
        opted_out=barred.among,
    )
    out: dict[str, int] = {}

    async def people() -> None:
        """One after the other opts out: somebody whose turn is near, or long over, or far away."""
        while len(out) < OPT_OUTS:
            near = IN_A_BATCH * len(gateway.left) + chance.randrange(-5, 40)
            mobile = (
                everybody[max(0, min(near, len(everybody) - 1))] if chance.random() < 0.7 else chance.choice(everybody)
            )
            if mobile in out:
                await asyncio.sleep(0)
                continue
            order = Order(verb=OPT_OUT, campaign="", words=(ACCOUNT, "operator", "asked", mobile))
            word = await carry_out(journal, order, barred, at=datetime.now(UTC))
            assert word.words == "1"
            out[mobile] = next(moments)  # from here on it is recorded

    opting_out = asyncio.create_task(people())
    await pool.run(stop=asyncio.Event(), stop_now=asyncio.Event())
    while_sending = len(out)
    await opting_out

    late = [mobile for moment, mobiles in gateway.left for mobile in mobiles if out.get(mobile, moment) < moment]
    assert late == []
    sent = {mobile for _, mobiles in gateway.left for mobile in mobiles}
    assert len(out) == OPT_OUTS
    assert while_sending > OPT_OUTS // 3  # most of it happens while batches leave
    assert len(out.keys() - sent) > 100  # and bites
    assert len(sent) == sum(len(mobiles) for _, mobiles in gateway.left)
