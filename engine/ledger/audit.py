"""Proves the laws from the journal alone, or says which one is broken, where, and by what. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise, product
from typing import Any

from engine.journal.port import AttemptRow, AuditView, BatchRow, OptOutSpan, SettledBy
from engine.language import _, _n
from engine.ledger.doubles import by_whom, doubles, masked
from engine.ledger.evidence import amount
from engine.ledger.reckoning import Reckoning, Unexplained
from engine.lines import named_line, untagged
from engine.model import BatchState, OutcomeKind, RefusalKind
from engine.moments import local, when
from engine.terms import word_of

_SHOWN = 3  # examples of what is wrong
_NEIGHBOURS = 6  # answered batches around one without reports
_NEIGHBOURS_TOLD = 3  # of which so many must have theirs

_HANDED_OVER = (BatchState.ACCEPTED, BatchState.REFUSED, BatchState.IN_DOUBT, BatchState.SUBMITTING)
# Over and done without the gateway having taken anybody: such a number may come into the campaign again with another list.
_LET_GO = (BatchState.REFUSED, BatchState.CANCELLED, BatchState.EXPIRED, BatchState.SPLIT)
_MAY_BE_TAKEN = (BatchState.ACCEPTED, BatchState.IN_DOUBT, BatchState.SUBMITTING)


class Law(StrEnum):
    """What is promised."""

    CONSERVATION = "conservation"  # every row is in exactly one bucket
    ONCE = "once"  # nobody is in two live batches or reported twice, and nothing goes again that may have been taken
    INTENT_FIRST = "intent_first"  # whatever was handed over was written down before
    COVERED = "covered"  # accepted here means a valid answer or evidence; and the gateway's truth, where told, is known
    POINTS = "points"  # opening + top-ups - charges = closing + unexplained
    EVIDENCE = "evidence"  # a doubt ends by evidence, and the evidence is kept, with who says so and when
    OPT_OUTS = "opt_outs"  # nothing goes to anybody who had opted out when it began


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One law, whether it holds, and what was looked at or found."""

    law: Law
    holds: bool
    detail: str

    def as_json(self) -> dict[str, Any]:
        """An element of the audit's `laws`."""
        return {"law": self.law.value, "holds": self.holds, "detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What a simulator says: how often it accepted each mobile, and what it charged in all."""

    mobiles: Mapping[str, int]
    charges: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A batch that breaks no law and that a person should look at."""

    seq: int
    attempt: int
    settled_by: SettledBy
    words: str

    def as_json(self) -> dict[str, Any]:
        """An element of the audit's `flags`."""
        return {"batch": self.seq, "attempt": self.attempt, "settled_by": self.settled_by.value, "words": self.words}


def audit(
    view: AuditView, reckoning: Reckoning, *, exclusive: bool = True, truth: Truth | None = None
) -> list[Finding]:
    """Check every law of one campaign. `exclusive`: nobody else spends from the account."""
    checks = (
        (
            Law.CONSERVATION,
            _conservation(view),
            _("rows {rows:,}, second numbers {extra:,}: all accounted for").format(rows=view.rows, extra=view.extra),
        ),
        (
            Law.ONCE,
            _once(view),
            _n("{count:,} recipient, in one batch", "{count:,} recipients, each in one batch", _held(view)).format(
                count=_held(view)
            ),
        ),
        (
            Law.INTENT_FIRST,
            _intent_first(view),
            _n(
                "{count:,} attempt, written down before it began",
                "{count:,} attempts, each written down before it began",
                len(view.attempts),
            ).format(count=len(view.attempts)),
        ),
        (Law.COVERED, _covered(view, truth), _covered_words(view, truth)),
        (Law.POINTS, _points(view, reckoning, exclusive, truth), _points_words(reckoning, exclusive)),
        (Law.EVIDENCE, _evidence(view), _evidence_words(view)),
        (
            Law.OPT_OUTS,
            _opt_outs(view),
            _n(
                "{count:,} opt-out, not sent to afterwards",
                "{count:,} opt-outs, none sent to afterwards",
                len(view.opt_outs),
            ).format(count=len(view.opt_outs)),
        ),
    )
    since = view.forgotten_at
    gone = (
        ""
        if since is None
        else _(" (numbers and texts forgotten on {since:%Y-%m-%d}: by counts)").format(since=local(since))
    )
    return [_finding(law, list(problems), fine + gone) for law, problems, fine in checks]


def _finding(law: Law, problems: list[str], fine: str) -> Finding:
    if not problems:
        return Finding(law=law, holds=True, detail=fine)
    more = _("; and {count:,} more").format(count=len(problems) - _SHOWN) if len(problems) > _SHOWN else ""
    return Finding(law=law, holds=False, detail=_("; ").join(problems[:_SHOWN]) + more)


def _conservation(view: AuditView) -> Iterator[str]:
    buckets = _held(view) + len(view.excluded_lines)
    if buckets != view.rows + view.extra:
        missing = view.rows + view.extra - buckets
        words = (
            _("{rows:,} rows came in and {buckets:,} are in buckets: {missing:,} lost")
            if missing > 0
            else _("{rows:,} rows came in and {buckets:,} are in buckets: {missing:,} too many")
        )
        yield words.format(rows=view.rows + view.extra, buckets=buckets, missing=abs(missing))
        if lines := _lines_without_bucket(view):
            yield _("no bucket holds line {lines}").format(lines=", ".join(map(named_line, lines[:_SHOWN])))
    for batch in view.batches if view.forgotten_at is None else ():
        if not batch.size == len(batch.mobiles) == len(batch.lines):
            yield _("batch {seq} says {size} recipients and holds {mobiles} numbers from {lines} lines").format(
                seq=batch.seq, size=batch.size, mobiles=len(batch.mobiles), lines=len(batch.lines)
            )


def _held(view: AuditView) -> int:
    """Recipients in batches. Those of a split one stand in its parts."""
    return sum(batch.size for batch in view.batches if batch.state is not BatchState.SPLIT)


def _lines_without_bucket(view: AuditView) -> list[int]:
    """Holes in the line numbers. Where a cell spans lines, holes are natural: so this is asked only when the sums differ."""
    held = {line for batch in view.batches for line in batch.lines} | set(view.excluded_lines)
    by_list: dict[int, set[int]] = defaultdict(set)
    for line in held:
        by_list[untagged(line)[0]].add(line)
    return sorted(line for lines in by_list.values() for line in set(range(min(lines), max(lines) + 1)) - lines)


# -- once ----------------------------------------------------------------------------------------------------------


def _once(view: AuditView) -> Iterator[str]:
    where: dict[str, int] = {}
    for batch in view.batches:
        if batch.state in _LET_GO:
            continue
        for mobile, unit in zip(batch.mobiles, _units(view, batch), strict=False):  # conservation tells of the lengths
            if (other := where.setdefault(unit, batch.seq)) != batch.seq:
                yield _("{mobile} is in batch {other} and in batch {seq}").format(
                    mobile=masked(mobile), other=other, seq=batch.seq
                )
        for mobile, times in Counter(batch.mobiles).items() if len(set(batch.mobiles)) < len(batch.mobiles) else ():
            if times > 1:
                yield _("{mobile} is {times} times in batch {seq}").format(
                    mobile=masked(mobile), times=times, seq=batch.seq
                )
    for seq, attempts in _by_batch(view).items():
        for before, after in pairwise(attempts):
            if not _surely_not_taken(before):
                yield _(
                    "batch {seq} was handed over again (attempt {number}) after an attempt that was {came_to}"
                ).format(seq=seq, number=after.number, came_to=_came_to(before))
    for row in view.attempts:
        if row.was_settled_not_taken and row.task_id is not None:
            yield _(
                "attempt {number} of batch {seq} was settled{by} as not taken, and its answer came after all: "
                "task id {task_id}"
            ).format(number=row.number, seq=row.seq, by=by_whom(row.settled_by), task_id=row.task_id)
    yield from doubles(view)


def _units(view: AuditView, batch: BatchRow) -> list[str]:
    """What must not happen twice, for each recipient: the number; of a queue, the number in its message.

    Two different notices to one customer are legitimate.
    """
    if view.notices is None:
        return batch.mobiles
    came_with = [view.notices.get(line, f"line {line}") for line in batch.lines]
    return [f"{mobile} {notice_id}" for mobile, notice_id in zip(batch.mobiles, came_with, strict=False)]


def _surely_not_taken(attempt: AttemptRow) -> bool:
    if attempt.outcome in (OutcomeKind.NOT_SENT, OutcomeKind.NOT_TAKEN):
        return True
    if attempt.outcome is OutcomeKind.REFUSED:
        return attempt.refusal in (RefusalKind.ACCOUNT, RefusalKind.BALANCE)
    return attempt.was_settled_not_taken


def _came_to(attempt: AttemptRow) -> str:
    if attempt.outcome is None:
        return _("still under way")
    if attempt.outcome is OutcomeKind.IN_DOUBT and attempt.was_taken:
        return _("settled{by} as taken").format(by=by_whom(attempt.settled_by))
    return word_of(attempt.outcome.value)


# -- intent first --------------------------------------------------------------------------------------------------


def _intent_first(view: AuditView) -> Iterator[str]:
    attempts = _by_batch(view)
    for batch in view.batches:
        numbers = [attempt.number for attempt in attempts.get(batch.seq, [])]
        if numbers != list(range(1, batch.attempts + 1)):
            yield _("batch {seq} counts {attempts} attempts, and {written} are written down").format(
                seq=batch.seq, attempts=batch.attempts, written=len(numbers)
            )
        if batch.state in _HANDED_OVER and not numbers:
            yield _("batch {seq} is {state} without any attempt").format(
                seq=batch.seq, state=word_of(batch.state.value)
            )
    for attempt in view.attempts:
        if attempt.finished_at is not None and attempt.finished_at < attempt.started_at:
            yield _("attempt {number} of batch {seq} ended before it began (a clock that jumped?)").format(
                number=attempt.number, seq=attempt.seq
            )


# -- covered -------------------------------------------------------------------------------------------------------


def _covered(view: AuditView, truth: Truth | None) -> Iterator[str]:
    attempts = _by_batch(view)
    for batch in view.batches:
        rows = attempts.get(batch.seq, [])
        if batch.state is BatchState.ACCEPTED and not (rows and _has_proof(rows[-1])):
            yield _("batch {seq} is accepted without a valid answer or evidence").format(seq=batch.seq)
        if batch.state is not BatchState.ACCEPTED:
            for row in rows:
                if row.was_taken:
                    how = _("settled{by}").format(by=by_whom(row.settled_by))
                    yield _("attempt {number} of batch {seq} was taken ({how}), and the batch is {state} here").format(
                        number=row.number,
                        seq=batch.seq,
                        how=_("answered") if row.outcome is OutcomeKind.ACCEPTED else how,
                        state=word_of(batch.state.value),
                    )
    if truth is not None:
        yield from _against(truth.mobiles, view, attempts)


def _has_proof(attempt: AttemptRow) -> bool:
    return attempt.was_taken and (attempt.outcome is not OutcomeKind.ACCEPTED or attempt.task_id is not None)


def _against(truth: Mapping[str, int], view: AuditView, attempts: Mapping[int, list[AttemptRow]]) -> Iterator[str]:
    """Compare with what the gateway accepted, less what other campaigns of the account sent to the same people."""
    others = Counter(mobile for joined in view.elsewhere for mobile in joined.split(","))
    came_again = _came_again(view)
    elsewhere_here = _in_other_batches(view, attempts)
    for batch in view.batches:
        if batch.state is BatchState.SPLIT:
            continue
        last = attempts.get(batch.seq, [None])[-1]
        omitted = set() if last is None else set(last.omitted)
        absent = []
        for mobile in batch.mobiles:
            own = batch.state in _MAY_BE_TAKEN and mobile not in omitted
            times = truth.get(mobile, 0) - others[mobile] - max(0, elsewhere_here[mobile] - own)
            if times > 1:
                yield _("the gateway accepted {mobile} {times} times (batch {seq})").format(
                    mobile=masked(mobile), times=times, seq=batch.seq
                )
            if times > 0 and mobile in omitted:
                yield _("the gateway accepted {mobile} of batch {seq}, who had opted out and was left out here").format(
                    mobile=masked(mobile), seq=batch.seq
                )
            elif times > 0 and batch.state not in _MAY_BE_TAKEN and mobile not in came_again:
                yield _("the gateway accepted {mobile} of batch {seq}, which is {state} here").format(
                    mobile=masked(mobile), seq=batch.seq, state=word_of(batch.state.value)
                )
            if mobile not in truth and mobile not in omitted:
                absent.append(mobile)
        if batch.state is BatchState.ACCEPTED and last is not None and len(absent) > _may_be_absent(last):
            yield _(
                "{absent:,} of the {size:,} numbers of batch {seq} are accepted here and not at the gateway, "
                "{mobile} the first{by_evidence}"
            ).format(
                absent=len(absent),
                size=last.size,
                seq=batch.seq,
                mobile=masked(absent[0]),
                by_evidence=_by_evidence(last),
            )


def _in_other_batches(view: AuditView, attempts: Mapping[int, list[AttemptRow]]) -> Counter[str]:
    """How many batches of a queue's campaign carry each number: each of them another notice. Of lists nothing: one is enough."""
    held: Counter[str] = Counter()
    for batch in view.batches if view.notices is not None else ():
        if batch.state in _MAY_BE_TAKEN:
            omitted = attempts[batch.seq][-1].omitted if attempts.get(batch.seq) else ()
            held.update(mobile for mobile in batch.mobiles if mobile not in omitted)
    return held


def _came_again(view: AuditView) -> set[str]:
    """Who stands in a batch that was let go, and in one that the gateway may have taken."""
    let_go = {mobile for batch in view.batches if batch.state in _LET_GO for mobile in batch.mobiles}
    if not let_go:
        return set()
    return {
        mobile for batch in view.batches if batch.state in _MAY_BE_TAKEN for mobile in batch.mobiles if mobile in let_go
    }


def _may_be_absent(attempt: AttemptRow) -> int:
    """How many numbers of an accepted batch the gateway may have left out. Evidence does not tell the count."""
    if attempt.outcome is OutcomeKind.IN_DOUBT:
        return attempt.size - 1
    return 0 if attempt.success_counts is None else max(0, attempt.size - attempt.success_counts)


def _by_evidence(attempt: AttemptRow) -> str:
    if attempt.outcome is not OutcomeKind.IN_DOUBT:
        return ""
    return _("; it was settled{by} as taken").format(by=by_whom(attempt.settled_by))


def _covered_words(view: AuditView, truth: Truth | None) -> str:
    taken = [row for row in view.attempts if row.was_taken]
    by_answer = sum(row.outcome is OutcomeKind.ACCEPTED for row in taken)
    words = _n(
        "{taken:,} batch accepted: {by_answer:,} by a valid answer, {by_evidence:,} by evidence",
        "{taken:,} batches accepted: {by_answer:,} by a valid answer, {by_evidence:,} by evidence",
        len(taken),
    ).format(taken=len(taken), by_answer=by_answer, by_evidence=len(taken) - by_answer)
    return words if truth is None else _("{words}; as at the gateway").format(words=words)


# -- points --------------------------------------------------------------------------------------------------------


def _points(view: AuditView, reckoning: Reckoning, exclusive: bool, truth: Truth | None) -> Iterator[str]:
    if exclusive:
        yield from map(_unexplained_words, reckoning.unexplained)
    for attempt in view.attempts:
        if attempt.was_taken and attempt.charge is None:
            yield _("attempt {number} of batch {seq} was taken, and nothing is charged for it").format(
                number=attempt.number, seq=attempt.seq
            )
        if not attempt.was_taken and attempt.charge is not None:
            yield _(
                "attempt {number} of batch {seq} was {came_to}, not taken, and {points} points are charged for it"
            ).format(number=attempt.number, seq=attempt.seq, came_to=_came_to(attempt), points=amount(attempt.charge))
    charged, most = view.account_charged, view.account_charged + reckoning.doubtful
    if truth is not None and not charged - reckoning.assumed <= truth.charges <= most:
        yield _("the gateway charged {theirs} points, {ours} are entered here").format(
            theirs=amount(truth.charges), ours=amount(charged)
        )


def _unexplained_words(each: Unexplained) -> str:
    points = abs(each.points)
    are = (_("{points} point is") if points == 1 else _("{points} points are")).format(points=amount(points))
    what = (
        _("{are} missing").format(are=are)
        if each.points > 0
        else _("{are} more in the balance than the charges leave").format(are=are)
    )
    return _("{what} between {begin} and {end}, and nothing of ours explains it").format(
        what=what, begin=when(each.begin), end=when(each.end)
    )


def _points_words(reckoning: Reckoning, exclusive: bool) -> str:
    if not reckoning.steps:
        return _("the gateway told no balance")
    if len(reckoning.steps) == 1:
        begin = reckoning.steps[0]
        return _(
            "{opening} at {at}, and the balance was not read since: what was charged is not known yet; the next "
            "`xinshi run` or `send` of this account reads it"
        ).format(opening=amount(begin.remaining), at=when(begin.at))
    opening, closing = reckoning.steps[0].remaining, reckoning.steps[-1].remaining
    bought = _(" + {points} topped up").format(points=amount(reckoning.topped_up)) if reckoning.topped_up else ""
    sums = _("{opening}{bought} - {charged} charged = {closing}").format(
        opening=amount(opening), bought=bought, charged=amount(reckoning.charged), closing=amount(closing)
    )
    if not reckoning.missing:
        return _("{sums} + unexplained 0").format(sums=sums)
    where = _("; ").join(
        _("{points} between {begin} and {end}: {because}").format(
            points=amount(step.missing), begin=when(before.at), end=when(step.at), because=step.because
        )
        for before, step in pairwise(reckoning.steps)
        if step.missing
    )
    shared = "" if exclusive else _("; the account is shared (exclusive = false), so others may have spent them")
    return _("{sums} + unexplained {points} ({where}){shared}").format(
        sums=sums, points=amount(reckoning.missing), where=where, shared=shared
    )


# -- evidence ------------------------------------------------------------------------------------------------------


def _evidence(view: AuditView) -> Iterator[str]:
    states = view.state_of
    for seq, attempts in _by_batch(view).items():
        for row in attempts:
            if row.outcome is OutcomeKind.IN_DOUBT:
                yield from _ended_badly(row, states[seq], is_last=row is attempts[-1])


def _ended_badly(row: AttemptRow, state: BatchState, *, is_last: bool) -> Iterator[str]:
    name = _("attempt {number} of batch {seq}").format(number=row.number, seq=row.seq)
    if row.is_open:
        if not is_last or state is not BatchState.IN_DOUBT:
            yield _("{name} was in doubt, the batch is {state} now, and nothing says why").format(
                name=name, state=word_of(state.value)
            )
        return
    verdict, _colon, words = row.evidence.partition(":")
    if verdict not in ("taken", "not taken"):
        yield _("the doubt about {name} was ended with words that say neither taken nor not taken").format(name=name)
    elif not words.strip():
        yield _("the doubt about {name} was ended as {verdict} without any evidence").format(
            name=name, verdict=_(verdict)
        )
    if row.settled_by is None:
        yield _("the doubt about {name} was ended, and nobody is named who says so").format(name=name)
    if row.settled_at is None:
        yield _("the doubt about {name} was ended, and nothing says when").format(name=name)
    if is_last and state is BatchState.IN_DOUBT:
        yield _("the doubt about {name} was ended as {verdict}, and the batch is still in doubt").format(
            name=name, verdict=_(verdict)
        )


def _evidence_words(view: AuditView) -> str:
    doubts = [row for row in view.attempts if row.outcome is OutcomeKind.IN_DOUBT]
    by = Counter(row.settled_by for row in doubts)
    return _n(
        "{count:,} doubt: {reports:,} by reports, {balance:,} by the balance, {operator:,} by an operator, {left:,} open",
        "{count:,} doubts: {reports:,} by reports, {balance:,} by the balance, {operator:,} by an operator, {left:,} open",
        len(doubts),
    ).format(
        count=len(doubts),
        reports=by[SettledBy.REPORT],
        balance=by[SettledBy.BALANCE],
        operator=by[SettledBy.OPERATOR],
        left=sum(row.is_open for row in doubts),
    )


# -- opt-outs ------------------------------------------------------------------------------------------------------


def _opt_outs(view: AuditView) -> Iterator[str]:
    spans: dict[str, list[OptOutSpan]] = {}
    for span in view.opt_outs:  # one from the account, and perhaps one from every account
        spans.setdefault(span.mobile, []).append(span)
    if not spans:
        return
    attempts = _by_batch(view)
    for batch in view.batches:
        for mobile in spans.keys() & set(batch.mobiles):
            for span, row in product(spans[mobile], attempts.get(batch.seq, [])):
                was_out = span.at < row.started_at and (span.removed_at is None or span.removed_at > row.started_at)
                if was_out and mobile not in row.omitted:
                    yield _(
                        "{mobile} opted out at {out} and is in attempt {number} of batch {seq}, begun at {begun}"
                    ).format(
                        mobile=masked(mobile),
                        out=when(span.at),
                        number=row.number,
                        seq=batch.seq,
                        begun=when(row.started_at),
                    )


# -- for a person --------------------------------------------------------------------------------------------------


def flags(view: AuditView) -> list[Flag]:
    """Batches that the balance or a person said were taken, and of which no report came though their neighbours have theirs."""
    told = {each.attempt: len(each.mobiles) for each in view.reports}
    answered = sorted(row.seq for row in view.attempts if row.outcome is OutcomeKind.ACCEPTED and row.task_id)
    half_told = {
        row.seq
        for row in view.attempts
        if row.outcome is OutcomeKind.ACCEPTED and 2 * told.get((row.seq, row.number), 0) >= row.size
    }
    mobiles = {batch.seq: batch.mobiles for batch in view.batches}
    unknown = {mobile for each in view.orphans for mobile in each.mobiles}
    found = []
    for row in view.attempts:
        if row.settled_by not in (SettledBy.BALANCE, SettledBy.OPERATOR) or not row.was_taken:
            continue
        with_theirs = half_told.intersection(_nearest(answered, row.seq))
        has_reports = (row.seq, row.number) in told or not unknown.isdisjoint(mobiles[row.seq])
        if len(with_theirs) >= _NEIGHBOURS_TOLD and not has_reports:
            found.append(_flag(row, sorted(with_theirs)))
    return found


def _nearest(seqs: Sequence[int], seq: int) -> list[int]:
    """The few of the sorted `seqs` that are nearest to this one."""
    at = bisect_left(seqs, seq)
    return sorted(seqs[max(0, at - _NEIGHBOURS) : at + _NEIGHBOURS], key=lambda other: abs(other - seq))[:_NEIGHBOURS]


def _flag(row: AttemptRow, neighbours: list[int]) -> Flag:
    assert row.settled_by is not None
    listed = ", ".join(map(str, neighbours))
    words = _(
        "batch {seq} was settled{by} as taken, and none of its {size:,} numbers has a report, while batches {listed} "
        "have theirs"
    ).format(seq=row.seq, by=by_whom(row.settled_by), size=row.size, listed=listed)
    return Flag(seq=row.seq, attempt=row.number, settled_by=row.settled_by, words=words)


def open_doubts(view: AuditView) -> list[AttemptRow]:
    """The doubts nothing has settled yet, with what they wait for."""
    return [row for row in view.attempts if row.is_open]


# -- what several laws need ----------------------------------------------------------------------------------------


def _by_batch(view: AuditView) -> dict[int, list[AttemptRow]]:
    found: dict[int, list[AttemptRow]] = defaultdict(list)
    for attempt in view.attempts:
        found[attempt.seq].append(attempt)
    return found
