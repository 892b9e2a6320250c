"""A consumer as its users run it: a real process, a real broker, a real journal, the simulator on a real socket."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.simulator import Simulator
from tests import nursery
from tests.laws.house import Ended, ended
from tests.numbers import mobiles
from tests.queues.brokers import Broker

QUEUE, TOLD = "notices", "told"
TEXTS = ("您的订单已发货", "您的快递已到柜，取件码见短信", "缴费成功，谢谢")

SETTINGS = """[account]
url = "{url}"
signature = "测试"
[journal]
url = "xinshi.db"
[pace]
requests_per_second = 0
in_flight = 2
[timeouts]
answer_s = 15
connect_s = 10
grace_s = 2
[settlement]
min_age_s = 1
balance_settle_s = 0.1
[tracking]
report_interval_s = 0.3
reply_interval_s = 5
[retry]
wait_s = 0.1
[batch]
max_recipients = 25
distinct_sizes = true
[consume]
linger_ms = 20
idle_s = 1
[queues.notices]
url = "{queue}"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the gateway was given, against what was asked for: counted by number and text."""

    twice: int
    lost: int


class House:
    """One folder with settings and a journal, for one queue of one broker and one simulated gateway."""

    def __init__(self, folder: Path, broker: Broker, sim: Simulator, *, more: str = "", queue: str = QUEUE) -> None:
        self.folder, self.broker, self.sim, self.queue = folder, broker, sim, queue
        self.by_hand = 0  # doubts settled by somebody who asked the gateway
        self.wanted: Counter[tuple[str, str]] = Counter()  # (mobile, text) -> how many notices
        settings = SETTINGS.format(url=sim.url, queue=broker.url(queue)) + more
        (folder / "xinshi.toml").write_text(settings, encoding="utf-8")

    async def produce(self, messages: Sequence[dict[str, Any]]) -> None:
        """Put messages into the queue, and remember who is to get what."""
        for message in messages:
            for mobile in [message["mobile"]] if "mobile" in message else message["mobiles"]:
                self.wanted[mobile, f"【测试】{message['text']}"] += 1
        await self.broker.produce(self.queue, [json.dumps(message).encode() for message in messages])

    async def produce_again(self, messages: Sequence[dict[str, Any]]) -> None:
        """The producer is not sure and sends them once more, under the same ids. Nobody is to get anything for it."""
        await self.broker.produce(self.queue, [json.dumps(message).encode() for message in messages])

    async def start(
        self, *words: str, crash: str | None = None, environ: Mapping[str, str] | None = None
    ) -> nursery.Started:
        """Begin a command and return at once. `crash`: where it is killed, see engine/crashing.py."""
        armed = {} if crash is None else {"_XINSHI_CRASH": crash}
        ours = {"XINSHI_ACCOUNT__PASSWORD": "demo", "XDG_STATE_HOME": str(self.folder)}
        return await nursery.start(
            *words, "--config", str(self.folder / "xinshi.toml"), "--json",
            environ={**os.environ, **ours, **armed, **(environ or {})},
        )  # fmt: skip

    @property
    def campaign(self) -> str:
        """Where messages go that name none."""
        return f"notices-{datetime.now().astimezone():%Y-%m-%d}"

    async def consume(
        self, *words: str, crash: str | None = None, environ: Mapping[str, str] | None = None
    ) -> nursery.Started:
        """Begin to consume the queue."""
        return await self.start("consume", "notices", *words, crash=crash, environ=environ)

    async def drain(self, *words: str) -> Ended:
        """Consume until the queue is empty and no doubt is open, however often that takes."""
        end = await ended(await self.consume("--once", *words))
        for _ in range(5):
            if end.code not in (4, 75):
                break
            await self._ask_the_gateway()
            end = await ended(await self.consume("--once", *words))
        return end

    async def _ask_the_gateway(self) -> None:
        """What evidence cannot settle a person does, who asks the vendor: so does this, and the simulator knows."""
        given = self._given()
        accepted, doubtful = Counter[tuple[str, str]](), []
        for seq, state, numbers, text in self.rows(
            "SELECT b.seq, b.state, b.mobiles, m.content FROM batch b JOIN message m "
            "ON m.campaign_id = b.campaign_id AND m.seq = b.message_seq"
        ):
            pairs = [(mobile, text) for mobile in numbers.split(",")]
            if state == "accepted":
                accepted.update(pairs)
            elif state == "in_doubt":
                doubtful.append((seq, pairs))
        for seq, pairs in doubtful:
            word = "taken" if all(given[pair] > accepted[pair] for pair in pairs) else "not-taken"
            asked = ("--batch", str(seq), "--assume", word, "--reason", "asked the vendor")
            end = await ended(await self.start("settle", self.campaign, *asked))
            assert end.code == 0, end.errors
            self.by_hand += 1

    def planned(self) -> int:
        """The recipients that wait in the journal; 0 as long as there is none."""
        try:
            ((found,),) = self.rows("SELECT coalesce(sum(size), 0) FROM batch WHERE state IN ('planned', 'claimed')")
        except sqlite3.OperationalError:
            return 0
        return int(found)

    def rows(self, query: str) -> list[Any]:
        """What the journal holds."""
        with closing(sqlite3.connect(f"file:{self.folder / 'xinshi.db'}?mode=ro", uri=True)) as journal:
            return journal.execute(query).fetchall()

    def told(self) -> Told:
        """What the gateway was given, against what was asked for."""
        given = self._given()
        return Told(twice=(given - self.wanted).total(), lost=(self.wanted - given).total())

    def _given(self) -> Counter[tuple[str, str]]:
        given: Counter[tuple[str, str]] = Counter()
        accepted: dict[str, int] = self.sim.truth()["mobiles"]  # type: ignore[assignment]
        for mobile in accepted:
            given.update((mobile, text or "") for text in self.sim.told(mobile))
        assert given.total() == sum(accepted.values())
        return given


def notices(count: int, *, seed: int, begin: int = 0) -> list[dict[str, Any]]:
    """Messages as a shop produces them: several texts, now and then the same person again, or several people at once."""
    chance, people = random.Random(seed), mobiles(count + 20, seed=seed)
    made = []
    for at in range(count):
        message: dict[str, Any] = {"id": f"n{begin + at}", "text": chance.choice(TEXTS)}
        if chance.random() < 0.05:
            message["mobiles"] = people[at : at + 3]
        else:
            message["mobile"] = people[at] if chance.random() < 0.9 else people[at // 2]
        made.append(message)
    return made
