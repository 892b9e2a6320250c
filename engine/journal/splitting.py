"""How a batch that was not handed over becomes smaller ones, in one transaction. See `Journal.split_batch` in port.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from sqlalchemy import Connection, func, insert, select, update

from engine.errors import ClaimLost
from engine.journal.commits import Commits
from engine.journal.schema import batch
from engine.language import _
from engine.lines import pack_lines, unpack_lines
from engine.model import BatchState, Claim

SplitOrder = tuple[Claim, tuple[int, ...]]


def split_batches(connection: Connection, orders: Sequence[SplitOrder]) -> list[list[Claim]]:
    """Put smaller batches in the place of claimed ones. Raises ClaimLost when one is not its claim's any more."""
    return [_split(connection, claim, sizes) for claim, sizes in orders]


def _split(connection: Connection, claim: Claim, sizes: tuple[int, ...]) -> list[Claim]:
    assert sum(sizes) == claim.size, "nobody is lost and nobody is added"
    row = connection.execute(select(batch).where(batch.c.id == claim.batch_id)).mappings().one()
    # What it left out of an attempt is counted again where it will be: whoever opted out is left out of the parts.
    _end_whole(connection, claim)
    last: int = connection.execute(
        select(func.max(batch.c.seq)).where(batch.c.campaign_id == claim.campaign_id)
    ).scalar_one()
    mobiles, lines = claim.mobiles.split(","), unpack_lines(row["lines"])
    ends = list(accumulate(sizes))
    parts = []
    for seq, (end, size) in enumerate(zip(ends, sizes, strict=True), last + 1):
        mine = slice(end - size, end)
        part = replace(claim, seq=seq, size=size, mobiles=",".join(mobiles[mine]), attempts=0)
        columns = {name: value for name, value in row.items() if name != "id"} | {
            "seq": seq,
            "size": size,
            "mobiles": part.mobiles,
            "lines": pack_lines(lines[mine]),
            "attempts": 0,
            "omitted": 0,
        }
        stored = connection.execute(insert(batch).values(columns).returning(batch.c.id))
        parts.append(replace(part, batch_id=stored.scalar_one()))
    return parts


def _end_whole(connection: Connection, claim: Claim) -> None:
    moved = connection.execute(
        update(batch)
        .where(
            batch.c.id == claim.batch_id,
            batch.c.state == BatchState.CLAIMED.value,
            batch.c.owner == claim.owner,
            batch.c.epoch == claim.epoch,
            batch.c.attempts == claim.attempts,
        )
        .values(state=BatchState.SPLIT.value, owner=None, epoch=None, lease_until_s=None, omitted=0, reason=None)
    ).rowcount
    if moved != 1:
        raise ClaimLost(
            _("batch {seq} is not in the state this worker expects; it was not touched").format(seq=claim.seq)
        )


class SplittingWrites:
    """The verb that splits."""

    _commits: Commits

    async def split_batch(self, claim: Claim, sizes: Sequence[int]) -> list[Claim]:
        """Put batches of these sizes in the place of a claimed one: the same recipients in their order, claimed alike.

        They stand behind the campaign's last batch. Raises ClaimLost when the batch is not this claim's any more.
        """
        return await self._commits.do(split_batches, (claim, tuple(sizes)))
