"""Send to rows that a program has, and follow what happens: python example.py SETTINGS < people.csv

Here the rows come from standard input, as lines of number,name; a database cursor or a web request does as well.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import engine


async def people() -> AsyncIterator[dict[str, str]]:
    """A row at a time: cells by the names of their columns."""
    for line in sys.stdin:
        number, _, name = line.strip().partition(",")
        yield {"手机号": number, "姓名": name}


async def main(settings: Path) -> int:
    async with engine.open(settings) as xinshi:
        campaign = await xinshi.plan(people(), text="{姓名}您好，春季新品到店", signature="示例", name="example")
        async for event in campaign.events():
            match event:
                case engine.Planned():
                    print(f"{event.recipients} recipients, {event.points} points")
                case engine.BatchAccepted():
                    print(f"{event.recipients} accepted")
                case engine.Paused():
                    print("paused:", ", ".join(event.reasons))
                case engine.Ended():
                    print(f"{event.state}: {event.charged} points")
        summary = await campaign.summary()
    return 0 if summary.recipients["accepted"] == sum(summary.recipients.values()) else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(Path(sys.argv[1]))))
    except engine.EngineError as error:  # whatever goes wrong has words for people
        sys.exit(f"{error}")
