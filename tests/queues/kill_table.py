"""python -m tests.queues.kill_table: broker × who is killed × seeds, as a table. Nobody twice, nobody lost.

Each run is a real consumer between a real broker and the simulator; what counts is what the simulator was given, by number and
text. Messages come before and meanwhile; the producer repeats some; the consumer is killed with SIGKILL, the broker stopped and
started again, at random moments.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.simulator import Simulator, SimulatorSettings
from tests import nursery
from tests.laws.house import ended
from tests.queues.brokers import BROKERS, Broker, missing, running
from tests.queues.house import House, notices

VICTIMS = ("consumer", "broker", "both")
MESSAGES = 300
BLOWS = 3
_DOWN_S = 0.3  # a broker that is away


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one run came to."""

    twice: int
    lost: int
    left: int  # messages the broker would hand over again
    blows: int
    by_hand: int  # doubts that neither balance nor reports could settle
    code: int

    @property
    def is_clean(self) -> bool:
        """Nobody twice, nobody lost, nothing left."""
        return not (self.twice or self.lost or self.left or self.code)


async def run_case(
    broker: Broker, victim: str, seed: int, folder: Path, *, messages: int = MESSAGES, blows: int = BLOWS
) -> Ran:
    """Produce, consume, strike; then let it come to its end and hold it against the truth."""
    chance = random.Random(f"{broker.name} {victim} {seed}")
    settings = SimulatorSettings(seed=seed, latency_s=0.01, jitter_s=0.01, report_delay_s=0.1)
    async with Simulator(settings) as sim:
        house = House(folder, broker, sim, queue=f"q{victim}{seed}")
        made = notices(messages, seed=seed)
        await house.produce(made[: messages // 2])
        later = iter(_parts(made[messages // 2 :], blows))
        consumer = await house.consume()
        await sim.wait_for_requests(1)
        for _ in range(blows):
            await _some_progress(sim, consumer, chance)
            if victim in ("consumer", "both"):
                consumer.kill()
                await ended(consumer)
            if victim in ("broker", "both"):
                await asyncio.to_thread(broker.stop)
                await asyncio.sleep(chance.uniform(0, _DOWN_S))
                await asyncio.to_thread(broker.start)
            await house.produce(part := next(later))
            await house.produce_again(chance.sample(made[: messages // 2] + part, 10))
            if victim in ("consumer", "both"):
                consumer = await house.consume()
        await _some_progress(sim, consumer, chance)
        consumer.terminate()
        await ended(consumer)
        end = await house.drain()
        told = house.told()
        left = await broker.unacknowledged(house.queue)
        return Ran(twice=told.twice, lost=told.lost, left=left, blows=blows, by_hand=house.by_hand, code=end.code)


async def _some_progress(sim: Simulator, consumer: nursery.Started, chance: random.Random) -> None:
    """Until a few more requests have come, or nothing more comes."""
    so_far = int(sim.truth(detail=False)["requests"])  # type: ignore[call-overload]
    arrived = asyncio.ensure_future(sim.wait_for_requests(so_far + chance.randrange(1, 8)))
    over = asyncio.ensure_future(consumer.wait())
    await asyncio.wait([arrived, over], timeout=2, return_when=asyncio.FIRST_COMPLETED)
    assert consumer.returncode is None, await ended(consumer)
    arrived.cancel()
    over.cancel()
    await asyncio.sleep(chance.uniform(0, 0.02))  # not only at the moment a request arrives


def _parts(items: list[dict[str, Any]], count: int) -> list[list[dict[str, Any]]]:
    return [items[at::count] for at in range(count)]


def main() -> int:
    """Print the table. Exit code 1 when a run was not clean."""
    parser = argparse.ArgumentParser(prog="python -m tests.queues.kill_table")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--broker", choices=list(BROKERS), action="append")
    given = parser.parse_args()
    clean = True
    print(
        f"{'broker':10} {'killed':10} {'runs':>5} {'blows':>6} {'twice':>6} {'lost':>6} {'left':>6} {'by hand':>8} {'time':>8}"
    )
    for name in given.broker or BROKERS:
        if reason := missing(name):
            print(f"{name:10} skipped: {reason}")
            continue
        with running(name) as broker:
            for victim in VICTIMS:
                begun, ran = time.monotonic(), []
                for seed in range(1, given.seeds + 1):
                    with tempfile.TemporaryDirectory(prefix="xinshi-kill-") as folder:
                        ran.append(asyncio.run(run_case(broker, victim, seed, Path(folder))))
                clean &= all(each.is_clean for each in ran)
                sums = [
                    sum(getattr(each, what) for each in ran) for what in ("blows", "twice", "lost", "left", "by_hand")
                ]
                took = time.monotonic() - begun
                figures = " ".join(f"{each:6}" for each in sums)
                print(f"{name:10} {victim:10} {len(ran):5} {figures}   {took:6.0f} s", flush=True)
                for seed, each in enumerate(ran, 1):
                    if not each.is_clean:
                        print(f"  seed {seed}: {each}", flush=True)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
