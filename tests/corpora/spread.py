"""Sends lists through everything there is, and holds what each phone was told against what its row says.

lists ─► intake ─► planning ─► journal ─► gateway/wire ─► loopback HTTP ─► simulator, whose truth is asked
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import engine
from engine.lines import untagged
from engine.live import Live
from engine.orders.pipeline import Pipeline
from engine.orders.plans import Plan, SendOrder, preview
from engine.results.export import export
from engine.results.writers import Form
from engine.simulator import Simulator, SimulatorSettings

SIGN = "【测试】"
FRAME_UNITS = 500  # the longest text of the standard profiles


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one row: the cells as an export shows them, its state and reason, and what its phone was told."""

    row: dict[str, str]
    told: list[str | None]

    @property
    def state(self) -> str:
        return self.row["state"]

    @property
    def reason(self) -> str:
        return self.row["reason"]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A CSV as Excel writes it."""
    out = io.StringIO()
    csv.writer(out).writerows([header, *rows])
    return out.getvalue()


async def spread(folder: Path, *, profile: str = "standard", column: str = "手机号", **words: str) -> list[Fate]:
    """Plan, preview and send a folder of lists. A fate for each of their rows, in order.

    `words` are `text` or `text_column`. What the preview shows is checked against what was told.
    """
    async with Simulator(SimulatorSettings(points=50_000, seed=1)) as sim:
        state = folder.parent / "state"
        settings: dict[str, Any] = {
            "account.url": sim.url,
            "account.password": "demo",
            "account.profile": profile,
            "journal.url": state / "xinshi.db",
            "pace.requests_per_second": 0,
            "message.check_keywords": False,
            "tracking.enabled": False,
        }
        environ = {"HOME": str(state), "XDG_STATE_HOME": str(state)}
        async with engine.open(settings=settings, environ=environ) as xinshi:
            plan = await _previewed(xinshi, folder, column, words)
            campaign = await xinshi.plan(folder, column=column, signature=SIGN, name="corpus", **words)  # type: ignore[arg-type]
            summary = await campaign.run()
        recipients = plan.tally.recipients
        truth = sim.truth(detail=False)
        assert (truth["accepted_numbers"], truth["twice"], summary.recipients["accepted"]) == (
            recipients,
            0,
            recipients,
        )
        fates = _fates(state, column, sim)
    _refuse_another_preview(plan, fates)
    return fates


async def _previewed(xinshi: engine.Engine, folder: Path, column: str, words: dict[str, str]) -> Plan:
    order = SendOrder(files=(folder,), column=column, signature=SIGN, **words)  # type: ignore[arg-type]
    reading = await asyncio.to_thread(Pipeline, folder, column=column)
    try:
        return await preview(xinshi.settings, xinshi.account, order, reading, Live())
    finally:
        await asyncio.to_thread(reading.__exit__)


def _fates(state: Path, column: str, sim: Simulator) -> list[Fate]:
    results = state / "results.jsonl"
    header = list(json.loads(_exported(state, results)[0]))
    usual = header[: header.index("state")]
    lines = _exported(state, results, columns=[*usual, "state", "reason", "line"])
    rows = [json.loads(line) for line in lines]
    return [Fate(row, sim.told(row[column])) for row in rows]


def _exported(state: Path, target: Path, columns: Sequence[str] | None = None) -> list[str]:
    export(state / "xinshi.db", "corpus", target, form=Form.JSONL, columns=columns)
    return target.read_bytes().decode().rstrip("\n").split("\n")  # U+2028 ends no line of JSON


def _refuse_another_preview(plan: Plan, fates: Sequence[Fate]) -> None:
    """The texts that the preview shows are those that were told: of the rows on the lines that it names."""
    shown = [*plan.tally.text_samples, *([plan.tally.longest] if plan.tally.longest else [])]
    assert len(shown) > 1
    for line, message in shown:
        source, line_of_list = untagged(line)
        place = [at for at, fate in enumerate(fates) if int(fate.row["line"]) == line_of_list][source]
        assert fates[place].told == [message.content]
