"""A campaign that is planned and not sent, without a gateway: what an export needs of it is all in the journal."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from engine.intake import Seen, inspect, read
from engine.journal.opening import open_journal
from engine.journal.port import Draft, PlanTotals, SourceRecord
from engine.model import Message
from engine.planning import Batcher


async def planned(folder: Path, path: Path) -> dict[str, int]:
    """Plan the list as the campaign "spring" in batches of seven. Returns the counts it becomes visible with."""
    listed = inspect(path)
    source = SourceRecord(
        path=str(path),
        sha256=listed.sha256,
        size=listed.size,
        encoding=listed.encoding,
        number_column=listed.column_label,
        column=listed.column,
        first_line=listed.first_line,
    )
    draft = Draft(
        name="spring",
        account="account",
        profile="standard",
        order_key="key",
        plan_hash="hash",
        messages=[Message(content="【测试】春", units=5, segments=1)],
        sources=[source],
        created_at=datetime.now(UTC),
    )
    counts = {"rows": 0, "extra": 0, "recipients": 0}
    journal = await open_journal(folder / "xinshi.db")
    try:
        campaign_id = await journal.begin_campaign(draft)
        batcher = Batcher(7, distinct=False)
        for chunk in read(listed, seen=Seen()):
            counts["rows"] += chunk.rows
            counts["extra"] += chunk.extra
            counts["recipients"] += len(chunk.mobiles)
            await journal.add_plan(campaign_id, batcher.add(chunk), chunk.excluded)
        await journal.add_plan(campaign_id, batcher.finish(), [])
        await journal.publish_campaign(campaign_id, PlanTotals(**counts, estimated=Decimal(0)))
    finally:
        await journal.close()
    return counts
