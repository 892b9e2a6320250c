"""Numbers that leave the list before it is planned: people who opted out, people on exclude lists, people on no `only` list.

Three million numbers are 22 MB, and travel as bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pyroaring import BitMap64

from engine.errors import IntakeError
from engine.intake.files import ListFile
from engine.intake.reached import Lately
from engine.intake.reader import read
from engine.intake.seen import Seen
from engine.language import N_, _
from engine.model import Chunk, Excluded, Exclusion

_OPTED_OUT = (Exclusion.OPTED_OUT, N_("the person asked for no more messages"))
_EXCLUDED = (Exclusion.EXCLUDED_LIST, N_("the number is on a list given with --exclude"))
_TOO_OFTEN = (Exclusion.TOO_OFTEN, N_("the number got as many messages lately as one may get (see --max-per-number)"))
_NOT_ON_LIST = (Exclusion.NOT_ON_LIST, N_("the number is on no list given with --only"))

# Rows of a screening list that say somebody and not whom: the list may miss people because of them.
_UNCLEAR = frozenset({Exclusion.INVALID, Exclusion.DIGITS_LOST, Exclusion.MALFORMED})


def packed(mobiles: Iterable[str]) -> bytes:
    """A set of mobiles (11 ASCII digits) as bytes; none at all is b""."""
    numbers = BitMap64(map(int, mobiles))
    return bytes(numbers.serialize()) if numbers else b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningList:
    """What an exclude or only list came to. `unclear`: rows that mean somebody and do not say whom, by reason."""

    list_file: ListFile
    rows: int
    mobiles: int
    unclear: dict[Exclusion, int]


def screening_list(list_file: ListFile, *, seen: Seen) -> ScreeningList:
    """Read a list into `seen`, flat in memory. Raises IntakeError as `read` does, and where none of its rows is a mobile."""
    rows = 0
    before = len(seen)
    reasons: Counter[Exclusion] = Counter()
    for chunk in read(list_file, seen=seen):
        rows += chunk.rows
        reasons.update(row.reason for row in chunk.excluded)
    mobiles = len(seen) - before
    if rows and not mobiles and not reasons[Exclusion.DUPLICATE]:
        raise IntakeError(
            _("none of its {rows:,} rows holds a mobile number: is it the right list?").format(rows=rows),
            source=list_file.source,
        )
    return ScreeningList(
        list_file=list_file,
        rows=rows,
        mobiles=mobiles,
        unclear={reason: reasons[reason] for reason in sorted(_UNCLEAR) if reasons[reason]},
    )


def gathered(list_files: Iterable[ListFile]) -> tuple[bytes, list[ScreeningList]]:
    """The numbers of all the lists together, packed, and what each came to. Raises IntakeError."""
    seen = Seen()
    lists = [screening_list(list_file, seen=seen) for list_file in list_files]
    return seen.packed(), lists


class Screen:
    """Sifts numbers out of chunks. Each set is packed; an empty `only` lets nobody through, None everybody."""

    def __init__(
        self,
        opted_out: bytes = b"",
        *,
        excluded: bytes = b"",
        only: bytes | None = None,
        lately: Lately | None = None,
    ) -> None:
        """`lately`: who has had enough messages is left out, and the others are counted by it."""
        self._out = [
            (_unpacked(numbers), why) for numbers, why in ((opted_out, _OPTED_OUT), (excluded, _EXCLUDED)) if numbers
        ]
        self._only = None if only is None else _unpacked(only)
        self._lately = lately
        if lately is not None and lately.enough:
            self._out.append((lately.enough, _TOO_OFTEN))
        self._sifted = BitMap64()  # those who were left out

    def counted(self, seen: Seen, held: bytes = b"") -> dict[int, int]:
        """How many of those let through were reached lately; see `Lately`. `seen`: all that came by, and `held` before."""
        if self._lately is None:
            return {}
        return self._lately.counted(self._let_through(seen, held))

    def whom(self, seen: Seen, held: bytes = b"", *, recipients: int) -> bytes:
        """Those let through, packed; b"" where they are not as many as the `recipients`, so that some are none."""
        through = self._let_through(seen, held)
        return bytes(through.serialize()) if len(through) == recipients else b""

    def _let_through(self, seen: Seen, held: bytes) -> BitMap64:
        """Not to be changed."""
        numbers = seen.numbers
        for gone in filter(None, (self._sifted, _unpacked(held))):
            numbers = numbers - gone
        return numbers

    def sift(self, chunk: Chunk) -> Chunk:
        """The chunk with the numbers that are screened out among the excluded. Who opted out counts as that."""
        reasons = dict(self._reasons(chunk.mobiles))
        if not reasons:
            return chunk
        self._sifted.update(int(chunk.mobiles[at]) for at in reasons)
        excluded = [
            Excluded(line=chunk.lines[at], raw=chunk.mobiles[at], reason=reason, detail=detail)
            for at, (reason, detail) in sorted(reasons.items())
        ]
        return Chunk(
            rows=chunk.rows,
            extra=chunk.extra,
            mobiles=[mobile for at, mobile in enumerate(chunk.mobiles) if at not in reasons],
            lines=[line for at, line in enumerate(chunk.lines) if at not in reasons],
            texts=None if chunk.texts is None else [text for at, text in enumerate(chunk.texts) if at not in reasons],
            original=chunk.original,
            excluded=sorted([*chunk.excluded, *excluded], key=lambda row: row.line),
        )

    def _reasons(self, mobiles: Sequence[str]) -> Iterator[tuple[int, tuple[Exclusion, str]]]:
        """Position and reason; of several reasons the one that counts comes last."""
        if self._only is not None:
            only = self._only
            yield from ((at, _NOT_ON_LIST) for at, mobile in enumerate(mobiles) if int(mobile) not in only)
        for numbers, why in reversed(self._out):
            yield from ((at, why) for at, mobile in enumerate(mobiles) if int(mobile) in numbers)


def _unpacked(numbers: bytes) -> BitMap64:
    return BitMap64.deserialize(numbers) if numbers else BitMap64()
