"""An owner in a process of its own, to be killed: `python -m tests.journal.owner JOURNAL [apart]`.

It plans a campaign and moves its batches on, one by one, and prints a line as soon as a verb has returned. It never ends.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from engine.journal.opening import open_journal
from tests.journal.stores import accepted, claimed, intended, planned


async def main(path: Path, *, apart: bool) -> None:
    journal = await open_journal(path, apart=apart)
    campaign_id = await planned(journal, *[1] * 2_000)
    claims = await claimed(journal, campaign_id, 2_000)
    print("owner", flush=True)
    for claim in claims:
        submitted = await intended(journal, claim)
        print(f"intended {claim.seq}", flush=True)
        if claim.seq % 2:
            await accepted(journal, submitted)
            print(f"accepted {claim.seq}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), apart="apart" in sys.argv[2:]))
