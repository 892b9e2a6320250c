"""Whom a list would reach again: who got something lately, who got nearly this text, and who got enough.

Delivered, unreported and in doubt count as reached, undelivered does not. The journal keeps a packed set a campaign and hour; a list of a million is compared with ten millions in well under a second.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import IO

from engine.intake.reached import ALIKE, ANY, Hours, ReachedSet
from engine.journal.reached import HOUR_US, Reaching
from engine.journal.schema import microseconds
from engine.journal.store import Reader, SqlJournal
from engine.planning.wording import template_of

_ALIKE_FROM = 0.7  # a short text of twenty characters with one changed
_SHINGLE = 3  # characters
_TEXTS_LOOKED_AT = 5  # of a campaign


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """So many messages a number may get in so many hours."""

    messages: int
    hours: int


def cap_of(text: str) -> Cap | None:
    """What "2/7d" or "1/24h" means; None for no limit. The settings have checked it."""
    if not text:
        return None
    messages, _, span = text.partition("/")
    return Cap(messages=int(messages), hours=int(span[:-1]) * (24 if span[-1] == "d" else 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What the journal knows before the list is read: who was reached, and by the number of a campaign its name."""

    sets: tuple[ReachedSet, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Of a plan's recipients, so many got anything in the last `days`, and so many nearly this text, most of them in `campaign`."""

    days: float
    reached: int
    alike: int
    campaign: str
    recipients: int

    def share(self, part: int) -> float:
        """A part of the recipients in percent."""
        return 100 * part / self.recipients if self.recipients else 0.0


def overlap_of(sighting: Sighting, counted: Mapping[int, int], *, days: float, recipients: int) -> Overlap:
    """What the counts of `Lately` mean."""
    most = max(sighting.names, key=lambda number: counted.get(number, 0), default=None)
    return Overlap(
        days=days,
        reached=counted.get(ANY, 0),
        alike=counted.get(ALIKE, 0),
        campaign=sighting.names[most] if most is not None and counted.get(ALIKE) else "",
        recipients=recipients,
    )


async def sighted(
    books: Reader, texts: Sequence[str], *, days: float, cap: Cap | None, now: datetime, writes: SqlJournal | None
) -> Sighting:
    """Look back. `texts`: what the first rows are told, and the template; `writes`: the journal, where it is ours and may keep what was made."""
    hours = max(days * 24, cap.hours if cap else 0.0)
    if not hours:
        return Sighting()
    since = now - timedelta(hours=hours)
    sets: list[ReachedSet] = []
    names: dict[int, str] = {}
    days_from = microseconds(now - timedelta(days=days)) // HOUR_US if days else None
    cap_from = microseconds(now - timedelta(hours=cap.hours)) // HOUR_US if cap else None
    for number, each in enumerate(await books.reaching(since_us=microseconds(since)), ALIKE + 1):
        alike = bool(days) and await _is_alike(books, each, texts)
        names |= {number: each.name} if alike else {}
        reached = await hours_of(books, each, writes=writes)
        missed = await _missed(books, each) if reached else {}
        for hour, numbers in reached:
            # The hour in which the time begins counts whole: rather a person too many than a message too much.
            lately, capped = (begin is not None and hour >= begin for begin in (days_from, cap_from))
            if lately or capped:
                sets.append(
                    ReachedSet(
                        number, lately, lately and alike, capped, each.of_lists, numbers, missed=missed.get(hour, b"")
                    )
                )
    return Sighting(sets=tuple(sets), names=names)


async def remember(
    journal: SqlJournal, campaign_id: int, *, whom: Callable[[], IO[bytes] | None] | None = None
) -> None:
    """Keep whom a campaign reached, if it is over, so that the next list is compared with it in a moment.

    `whom` tells for whom all of it was planned, as a packed set in a file, None where that is not known any more; it blocks.
    """
    for each in await journal.reaching(since_us=0, campaign_id=campaign_id):
        if each.is_over and not each.is_kept:
            hour = None if whom is None else await journal.only_hour(each.campaign_id)
            if hour is not None and whom is not None and (numbers := await asyncio.to_thread(whom)) is not None:
                await journal.keep_reached(each.campaign_id, each.recipients, [(hour, numbers)])
            else:
                await hours_of(journal, each, writes=journal)


async def hours_of(books: Reader, each: Reaching, *, writes: SqlJournal | None) -> list[tuple[int, bytes]]:
    """Whom a campaign reached, by hour; kept for the next time where that can be."""
    if each.is_kept:
        return await books.reached_hours(each.campaign_id)
    hours, packed = Hours(), list[tuple[int, bytes]]()
    async for hour, mobiles, omitted in books.carried(each.campaign_id):
        if not omitted:  # these come by their hour, so an earlier one is complete
            packed += hours.packed(before=hour)
        left_out = set(omitted.split(","))
        numbers: Iterable[str] = mobiles.split(",")
        await asyncio.to_thread(
            hours.add, hour, [one for one in numbers if one not in left_out] if omitted else numbers
        )
    packed += hours.packed()
    if writes is not None and each.is_over:
        sets = [(hour, io.BytesIO(numbers)) for hour, numbers in packed]
        await writes.keep_reached(each.campaign_id, each.recipients, sets)
    return packed


async def _missed(books: Reader, each: Reaching) -> dict[int, bytes]:
    """Who was not reached after all, by hour, as the last reports say.

    Not of a queue: it may have told somebody twice within the hour, and once with success.
    """
    hours = Hours()
    if each.of_lists:
        async for hour, mobiles in books.undelivered(each.campaign_id):
            await asyncio.to_thread(hours.add, hour, mobiles.split(","))
    return dict(hours.packed())


async def _is_alike(books: Reader, each: Reaching, texts: Sequence[str]) -> bool:
    theirs = [
        *await books.first_texts(each.campaign_id, limit=_TEXTS_LOOKED_AT),
        *filter(None, [template_of(each.wording)]),
    ]
    return any(likeness(one, other) >= _ALIKE_FROM for one in texts for other in theirs)


def likeness(one: str, other: str) -> float:
    """How much two texts have in common, from 0 to 1: the share of their runs of three characters that both have."""
    if one == other:
        return 1.0
    first, second = _shingles(one), _shingles(other)
    return len(first & second) / len(first | second)


def _shingles(text: str) -> set[str]:
    plain = "".join(text.split())
    return {plain[at : at + _SHINGLE] for at in range(max(1, len(plain) - _SHINGLE + 1))}
