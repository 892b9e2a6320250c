"""Opted-out numbers leave the list before it is planned. Three million of them are 22 MB, and travel as bytes."""

from __future__ import annotations

from collections.abc import Iterable

from pyroaring import BitMap64

from engine.model import Chunk, Excluded, Exclusion

_WHY = "the person asked for no more messages"


def packed(mobiles: Iterable[str]) -> bytes:
    """A set of mobiles (11 ASCII digits) as bytes; none at all is b""."""
    numbers = BitMap64(map(int, mobiles))
    return bytes(numbers.serialize()) if numbers else b""


class Screen:
    """Sifts opted-out numbers out of chunks."""

    def __init__(self, opted_out: bytes = b"") -> None:
        self._numbers = BitMap64.deserialize(opted_out) if opted_out else None

    def sift(self, chunk: Chunk) -> Chunk:
        """The chunk with its opted-out numbers among the excluded."""
        numbers = self._numbers
        if numbers is None:
            return chunk
        barred = [at for at, mobile in enumerate(chunk.mobiles) if int(mobile) in numbers]
        if not barred:
            return chunk
        excluded = [
            Excluded(line=chunk.lines[at], raw=chunk.mobiles[at], reason=Exclusion.OPTED_OUT, detail=_WHY)
            for at in barred
        ]
        out = set(barred)
        return Chunk(
            rows=chunk.rows,
            extra=chunk.extra,
            mobiles=[mobile for at, mobile in enumerate(chunk.mobiles) if at not in out],
            lines=[line for at, line in enumerate(chunk.lines) if at not in out],
            excluded=sorted([*chunk.excluded, *excluded], key=lambda row: row.line),
        )
