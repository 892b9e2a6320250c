"""Proves the laws from the journal alone, or says which one is broken, where, and by what. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Any

from engine.journal.port import AttemptRow, AuditView, Reading
from engine.ledger.points import ZERO, Points
from engine.model import BatchState, OutcomeKind, RefusalKind

_SHOWN = 3  # examples of what is wrong


class Law(StrEnum):
    """What is promised."""

    CONSERVATION = "conservation"  # every row is in exactly one bucket
    ONCE = "once"  # nobody is in two live batches, and nothing is handed over again that may have been taken
    INTENT_FIRST = "intent_first"  # whatever was handed over was written down before
    COVERED = (
        "covered"  # accepted here means a valid answer or evidence; and with the gateway's truth: all of it is known
    )
    POINTS = "points"  # opening + top-ups - charges = closing + unexplained
    EVIDENCE = "evidence"  # a doubt ends by evidence, and the evidence is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One law, whether it holds, and what was looked at or found."""

    law: Law
    holds: bool
    detail: str

    def as_json(self) -> dict[str, Any]:
        """An element of the audit's `laws`."""
        return {"law": self.law.value, "holds": self.holds, "detail": self.detail}


def audit(
    view: AuditView,
    points: Points,
    *,
    price: Decimal,
    truth: Mapping[str, int] | None = None,
    truth_charges: Decimal | None = None,
) -> list[Finding]:
    """Check every law of one campaign. `price`: points for a segment. `truth`: how often a simulator accepted each mobile,
    `truth_charges` what it charged in all."""
    doubtful = view.doubtful_points(price)
    checks = (
        (
            Law.CONSERVATION,
            _conservation(view),
            f"{view.rows:,} rows and {view.extra:,} second numbers, all accounted for",
        ),
        (Law.ONCE, _once(view), f"{sum(b.size for b in view.batches):,} recipients, each in one batch"),
        (Law.INTENT_FIRST, _intent_first(view), f"{len(view.attempts):,} attempts, each written down before it began"),
        (Law.COVERED, _covered(view, truth), "accepted only by a valid answer or evidence"),
        (Law.POINTS, _points(view, points, doubtful, truth_charges), _points_words(points)),
        (Law.EVIDENCE, _evidence(view), "every doubt is open, or ended by evidence"),
    )
    return [_finding(law, list(problems), fine) for law, problems, fine in checks]


def _finding(law: Law, problems: list[str], fine: str) -> Finding:
    if not problems:
        return Finding(law=law, holds=True, detail=fine)
    more = f"; and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
    return Finding(law=law, holds=False, detail="; ".join(problems[:_SHOWN]) + more)


def _conservation(view: AuditView) -> Iterator[str]:
    held = sum(batch.size for batch in view.batches if batch.state is not BatchState.SPLIT)
    buckets = held + len(view.excluded_lines)
    if buckets != view.rows + view.extra:
        missing = view.rows + view.extra - buckets
        yield f"{view.rows + view.extra:,} rows came in and {buckets:,} are in buckets: {abs(missing):,} {'lost' if missing > 0 else 'too many'}"
        if lines := _lines_without_bucket(view):
            yield f"no bucket holds line {', '.join(map(str, lines[:_SHOWN]))}"
    for batch in view.batches:
        if not batch.size == len(batch.mobiles) == len(batch.lines):
            yield (
                f"batch {batch.seq} says {batch.size} recipients and holds {len(batch.mobiles)} numbers "
                f"from {len(batch.lines)} lines"
            )


def _lines_without_bucket(view: AuditView) -> list[int]:
    """Holes in the line numbers. Where a cell spans lines, holes are natural: so this is asked only when the sums differ."""
    held = {line for batch in view.batches for line in batch.lines} | set(view.excluded_lines)
    return sorted(set(range(min(held), max(held) + 1)) - held) if held else []


def _once(view: AuditView) -> Iterator[str]:
    where: dict[str, int] = {}
    for batch in view.batches:
        if batch.state in (BatchState.SPLIT, BatchState.CANCELLED, BatchState.EXPIRED):
            continue
        for mobile in batch.mobiles:
            if (other := where.setdefault(mobile, batch.seq)) != batch.seq:
                yield f"{_masked(mobile)} is in batch {other} and in batch {batch.seq}"
        for mobile, times in Counter(batch.mobiles).items() if len(set(batch.mobiles)) < len(batch.mobiles) else ():
            if times > 1:
                yield f"{_masked(mobile)} is {times} times in batch {batch.seq}"
    for seq, attempts in _by_batch(view).items():
        for before, after in pairwise(attempts):
            if not _surely_not_taken(before):
                yield f"batch {seq} was handed over again (attempt {after.number}) after an attempt that was {before.outcome}"


def _intent_first(view: AuditView) -> Iterator[str]:
    attempts = _by_batch(view)
    for batch in view.batches:
        numbers = [attempt.number for attempt in attempts.get(batch.seq, [])]
        if numbers != list(range(1, batch.attempts + 1)):
            yield f"batch {batch.seq} counts {batch.attempts} attempts, and {len(numbers)} are written down"
        handed_over = batch.state in (
            BatchState.ACCEPTED,
            BatchState.REFUSED,
            BatchState.IN_DOUBT,
            BatchState.SUBMITTING,
        )
        if handed_over and not numbers:
            yield f"batch {batch.seq} is {batch.state.value} without any attempt"
    for attempt in view.attempts:
        if attempt.finished_at is not None and attempt.finished_at < attempt.started_at:
            yield f"attempt {attempt.number} of batch {attempt.seq} ended before it began (a clock that jumped?)"


def _covered(view: AuditView, truth: Mapping[str, int] | None) -> Iterator[str]:
    attempts = _by_batch(view)
    for batch in view.batches:
        last = attempts.get(batch.seq, [None])[-1]
        if batch.state is BatchState.ACCEPTED and (last is None or not (_answered(last) or last.evidence)):
            yield f"batch {batch.seq} is accepted without a valid answer or evidence"
    if truth is None:
        return
    states = {mobile: batch.state for batch in view.batches for mobile in batch.mobiles}
    for mobile, times in truth.items():
        if mobile not in states:
            continue  # another campaign's
        if times > 1:
            yield f"the gateway accepted {_masked(mobile)} {times} times"
        if states[mobile] not in (BatchState.ACCEPTED, BatchState.IN_DOUBT, BatchState.SUBMITTING):
            yield f"the gateway accepted {_masked(mobile)}, which is {states[mobile].value} here"
    for mobile, state in states.items():
        if state is BatchState.ACCEPTED and mobile not in truth and not _short(view):
            yield f"{_masked(mobile)} is accepted here and not at the gateway"


def _points(view: AuditView, points: Points, doubtful: Decimal, truth_charges: Decimal | None) -> Iterator[str]:
    for interval in points.intervals:
        if 0 <= interval.unexplained <= doubtful:
            continue  # an answer that was lost after the gateway had charged it
        word = "missing" if interval.unexplained > 0 else "too many"
        yield f"{abs(interval.unexplained):,f} points {word} between {_when(interval.begin)} and {_when(interval.end)}"
    for attempt in view.attempts:
        taken = attempt.outcome is OutcomeKind.ACCEPTED or attempt.evidence.startswith("taken")
        if taken != (attempt.charge is not None):
            yield f"attempt {attempt.number} of batch {attempt.seq} is {attempt.outcome} and charged {attempt.charge}"
    charged = sum((attempt.charge for attempt in view.attempts if attempt.charge is not None), ZERO)
    if truth_charges is not None and not charged <= truth_charges <= charged + doubtful:
        yield f"the gateway charged {truth_charges:,f} points, {charged:,f} are entered here"


def _evidence(view: AuditView) -> Iterator[str]:
    for seq, attempts in _by_batch(view).items():
        state = view.state_of[seq]
        last = attempts[-1]
        if last.outcome is OutcomeKind.IN_DOUBT and state is not BatchState.IN_DOUBT and not last.evidence:
            yield f"batch {seq} was in doubt, is {state.value} now, and nothing says why"


def _surely_not_taken(attempt: AttemptRow) -> bool:
    if attempt.outcome in (OutcomeKind.NOT_SENT, OutcomeKind.NOT_TAKEN):
        return True
    if attempt.outcome is OutcomeKind.REFUSED:
        return attempt.refusal in (RefusalKind.ACCOUNT, RefusalKind.BALANCE)
    return attempt.outcome is OutcomeKind.IN_DOUBT and attempt.evidence.startswith("not taken")


def _answered(attempt: AttemptRow) -> bool:
    return attempt.outcome is OutcomeKind.ACCEPTED and attempt.task_id is not None


def _short(view: AuditView) -> bool:
    return any(
        attempt.success_counts is not None and attempt.success_counts < attempt.size for attempt in view.attempts
    )


def _by_batch(view: AuditView) -> dict[int, list[AttemptRow]]:
    found: dict[int, list[AttemptRow]] = defaultdict(list)
    for attempt in view.attempts:
        found[attempt.seq].append(attempt)
    return found


def _points_words(points: Points) -> str:
    if points.opening is None:
        return "the gateway told no balance"
    unexplained = points.unexplained or ZERO
    rest = f", {unexplained:,f} of them by batches in doubt" if unexplained else ", unexplained 0"
    return f"{points.opening:,f} at the beginning, {points.remaining:,f} now{rest}"


def chain_lines(readings: Sequence[Reading]) -> list[str]:
    """The balance as text: each reading, what was charged since, and what does not add up."""
    lines, before = [], None
    for reading in readings:
        if before is not None and before.remaining is not None and reading.remaining is not None:
            lines.append(f"  {'-' + format(reading.charged_since_last, ',f'):>14}  charged by accepted answers")
            gap = before.remaining - reading.charged_since_last - reading.remaining
            if gap:
                lines.append(f"  {format(-gap, '+,f'):>14}  UNEXPLAINED, {_when(before.at)} to {_when(reading.at)}")
        shown = "not told" if reading.remaining is None else format(reading.remaining, ",f")
        lines.append(f"{shown:>16}  {_when(reading.at)}")
        before = reading
    return lines


def _when(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _masked(mobile: str) -> str:
    return f"{mobile[:3]}****{mobile[7:]}"
