"""Joins a report for every accepted number of a campaign: `python -m benchmarks.joining JOURNAL CAMPAIGN`.

What is timed is the journal's: adding the reports a poll at a time, and the look that joins them with the attempts. The
reports themselves are made outside the time.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from engine.gateway.polls import ReportState
from engine.journal.opening import open_journal
from engine.journal.port import PollAnswer, PollKind, PollRead, ReportLine

_A_POLL = 1_000  # as many as a poll asks for
_AT = datetime(2026, 3, 1, tzinfo=UTC)
_ANSWER = PollAnswer(at=_AT, http_status=200, charset=None, complete=True, body=b"")


async def join(path: Path, campaign: str) -> dict[str, float]:
    """Seconds for storing and for looking, and how many count as delivered."""
    store_s = 0.0
    polls = list(_polls(path))
    journal = await open_journal(path)
    try:
        record = await journal.find_campaign(name=campaign)
        assert record is not None
        for lines in polls:
            poll = await journal.begin_poll(record.account, PollKind.REPORT, asked_at=_AT, most=_A_POLL)
            await journal.keep_answer(poll, _ANSWER)
            begin = time.perf_counter()
            await journal.apply_poll(record.account, poll, PollRead(at=_AT, records=len(lines), reports=lines))
            store_s += time.perf_counter() - begin
        begin = time.perf_counter()
        delivery = await journal.delivery(record.campaign_id)
        look_s = time.perf_counter() - begin
    finally:
        await journal.close()
    return {"store_s": store_s, "look_s": look_s, "delivered": float(delivery.delivered)}


def _polls(path: Path) -> Iterator[list[ReportLine]]:
    query = (
        "SELECT attempt.task_id, batch.mobiles FROM attempt JOIN batch ON batch.id = attempt.batch_id ORDER BY batch.id"
    )
    lines: list[ReportLine] = []
    with closing(sqlite3.connect(path)) as journal:
        for task_id, mobiles in journal.execute(query):
            lines += [
                ReportLine(task_id, mobile, ReportState.DELIVERED, _AT, "10", "DELIVRD")
                for mobile in mobiles.split(",")
            ]
            while len(lines) >= _A_POLL:
                yield lines[:_A_POLL]
                del lines[:_A_POLL]
    if lines:
        yield lines


if __name__ == "__main__":
    print(json.dumps(asyncio.run(join(Path(sys.argv[1]), sys.argv[2]))))
