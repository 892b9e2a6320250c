"""Those who go first: which batches they are, what their reports say, and whether later reports still look like them."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from pyroaring import BitMap64

from engine.dispatch.pool import PoolEnd
from engine.dispatch.waiting import first_of
from engine.gateway.polls import Report, ReportState
from engine.journal.conducting import CanaryStand
from engine.journal.port import CampaignRecord, Conduct
from engine.language import _, _n
from engine.model import PauseReason

ENOUGH = 0.5
"""The share of a canary that must be reported before its wait is over, to judge by."""
LOOK_EVERY_S = 1.0
LOOKED_AT = 200
"""The last reports of a run by which a spike is seen."""
_MOST_REASONS = 5
_COUNTED = re.compile(r"[1-9][0-9]{0,18}")  # an id that is one number, in one way, of 64 bits


class Books(Protocol):
    """The journal as a canary needs it."""

    async def canary_stand(self, campaign_id: int, *, recipients: int) -> CanaryStand:
        """What became of the last accepted batches."""
        ...

    async def set_canary(self, campaign_id: int, seq: int | None, *, passed: bool) -> None:
        """Note which batch is its last, and whether it came through."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The batches that go first: up to the one with the seq `last_seq`."""

    last_seq: int
    recipients: int


def chosen(in_order: Sequence[tuple[int, int, int]], recipients: int) -> Chosen:
    """Whole batches (seq, size, segments) of at most so many recipients; at least one."""
    seq, size, _ = in_order[0]
    for next_seq, next_size, _ in in_order[1:]:
        if size + next_size > recipients:
            break
        seq, size = next_seq, size + next_size
    return Chosen(last_seq=seq, recipients=size)


def verdict(stand: CanaryStand, conduct: Conduct, now: datetime) -> PoolEnd | None:
    """Whether the rest may go (no reason), or why not; None: reports may still change that."""
    wanted, accepted = conduct.canary_delivered, stand.accepted
    reported = stand.delivered + stand.undelivered
    if not accepted or stand.sent_at is None:
        return _stopped(_("nothing of the canary was accepted"))
    if stand.delivered >= wanted * accepted:
        return PoolEnd()  # whatever the others say
    waited = now >= stand.sent_at + timedelta(seconds=conduct.canary_wait_s)
    if accepted - stand.undelivered < wanted * accepted or reported == accepted:
        return _stopped(_("{stand}; {wanted:.0%} must be").format(stand=stand_words(stand), wanted=wanted))
    if not waited:
        return None
    if reported < ENOUGH * accepted:
        return _stopped(
            _("only {reported:,} of {accepted:,} are reported after {span}{reasons}").format(
                reported=reported, accepted=accepted, span=_span(conduct.canary_wait_s), reasons=_reasons(stand)
            )
        )
    return (
        PoolEnd()
        if stand.delivered >= wanted * reported
        else _stopped(_("{stand}; {wanted:.0%} must be").format(stand=stand_words(stand), wanted=wanted))
    )


def stand_words(stand: CanaryStand) -> str:
    """ "31 of 50 reported were delivered (62 %): 12 × 20 MK:0001, 7 × 20 DB:0141"."""
    reported = stand.delivered + stand.undelivered
    share = f" ({stand.delivered / reported:.0%})" if reported else ""
    return _("{delivered:,} of {reported:,} reported were delivered{share}{reasons}").format(
        delivered=stand.delivered, reported=reported, share=share, reasons=_reasons(stand)
    )


def _reasons(stand: CanaryStand) -> str:
    said = Counter(stand.said).most_common()
    if not said:
        return ""
    shown = [f"{count:,} × {words}" for words, count in said[:_MOST_REASONS]]
    more = (
        [
            _n("{count} other reason", "{count} other reasons", len(said) - _MOST_REASONS).format(
                count=len(said) - _MOST_REASONS
            )
        ]
        if len(said) > _MOST_REASONS
        else []
    )
    return _("; undelivered: {reasons}").format(reasons=", ".join([*shown, *more]))


def _stopped(detail: str) -> PoolEnd:
    return PoolEnd(reason=PauseReason.CANARY, detail=detail)


def _span(seconds: float) -> str:
    return (
        _("{seconds:g} s").format(seconds=seconds)
        if seconds < 120
        else _("{minutes:g} min").format(minutes=seconds / 60)
    )


async def awaited(
    books: Books,
    record: CampaignRecord,
    last_seq: int,
    *,
    clock: Callable[[], datetime],
    news: asyncio.Event,
    give_up: Callable[[], bool],
    tell: Callable[[str], None],
) -> PoolEnd | None:
    """Wait for the reports of a canary that has gone. Passed, that is written down. None: given up before."""
    conduct = record.conduct
    while not give_up():
        news.clear()
        stand = await books.canary_stand(record.campaign_id, recipients=conduct.canary)
        if (end := verdict(stand, conduct, clock())) is not None:
            await books.set_canary(record.campaign_id, last_seq, passed=end.reason is None)
            return end
        tell(
            _("waiting for the canary's reports: {reported:,} of {accepted:,}").format(
                reported=stand.delivered + stand.undelivered, accepted=stand.accepted
            )
        )
        await first_of(news, timeout=LOOK_EVERY_S)
    return None


class Tasks:
    """Ids of tasks. Gateways count them up: as numbers, ten millions are a few bytes each at most; as texts they are a gigabyte."""

    def __init__(self) -> None:
        self._counted = BitMap64()
        self._others = set[str]()

    def add(self, task_id: str) -> None:
        """Remember one, known or not."""
        if _COUNTED.fullmatch(task_id):
            self._counted.add(int(task_id))
        else:
            self._others.add(task_id)

    def __contains__(self, task_id: str | None) -> bool:
        if task_id is not None and _COUNTED.fullmatch(task_id):
            return int(task_id) in self._counted
        return task_id in self._others


class Spikes:
    """Looks at the last reports of what this run has sent. `most` is the share of undelivered that is too much; 0: never."""

    def __init__(self, most: float, stop: Callable[[PoolEnd], None]) -> None:
        self._most, self._stop = most, stop
        self._tasks = Tasks()
        self._last: deque[bool] = deque(maxlen=LOOKED_AT)
        self._said: deque[str] = deque(maxlen=LOOKED_AT)

    def sent(self, task_id: str | None) -> None:
        """The gateway took a batch under this id."""
        if task_id is not None and self._most:
            self._tasks.add(task_id)

    def reported(self, reports: Iterable[Report]) -> None:
        """A poll brought these."""
        if not self._most:
            return
        for each in reports:
            if each.task_id not in self._tasks or each.state not in (ReportState.DELIVERED, ReportState.UNDELIVERED):
                continue
            bad = each.state is ReportState.UNDELIVERED
            self._last.append(bad)
            self._said.append(f"{each.status} {each.error_code}".strip() if bad else "")
        bad_ones = sum(self._last)
        if len(self._last) == LOOKED_AT and bad_ones > self._most * LOOKED_AT:
            said = Counter(filter(None, self._said))
            stand = CanaryStand(delivered=LOOKED_AT - bad_ones, undelivered=bad_ones, said=dict(said))
            self._stop(
                PoolEnd(
                    reason=PauseReason.UNDELIVERED,
                    detail=_("of the last reports, {stand}").format(stand=stand_words(stand)),
                )
            )
