"""What a report tells of a campaign beyond its summary: over time, by reason, by the values of a column. One pass, bounded memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from engine.errors import PlanError
from engine.intake.kept import kept_folder
from engine.journal.results import Known, looking
from engine.language import N_, _
from engine.moments import CHINA
from engine.results.columns import heads_of
from engine.results.original import originals
from engine.results.rows import Joined, joined, meaning, times_in
from engine.telemetry import mask

MOST_VALUES = 30
"""Values of a column that get a line of their own; the rest share one."""

_MOST_KEPT = 20_000  # distinct values: beyond it the column is no kind of thing, and the rare ones are counted together
OTHERS = N_("all others")
BLANK = N_("(blank)")


@dataclass(slots=True, kw_only=True)
class Tally:
    """Recipients of one kind, counted."""

    recipients: int = 0
    accepted: int = 0
    delivered: int = 0
    undelivered: int = 0
    excluded: int = 0

    @property
    def unreported(self) -> int:
        """Accepted ones without a final report."""
        return self.accepted - self.delivered - self.undelivered

    def add(self, other: Tally) -> None:
        """Count those of `other` too."""
        for name in ("recipients", "accepted", "delivered", "undelivered", "excluded"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why some were not reached, in the gateway's code and, where it is known, in words."""

    code: str
    meaning: str
    count: int


@dataclass(slots=True, kw_only=True)
class Findings:
    """What one pass over the results found. Minutes are ISO 8601 in the zone asked for, without offset."""

    known: Known
    column: str | None
    delivered: Counter[str] = field(default_factory=Counter)  # by the minute of the report
    undelivered: Counter[str] = field(default_factory=Counter)
    submitted: Counter[str] = field(default_factory=Counter)  # by the minute of the attempt
    codes: Counter[str] = field(default_factory=Counter)  # of undelivered ones
    refusals: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)
    excluded: Counter[str] = field(default_factory=Counter)
    values: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    replies: int = 0
    without_list: int = 0  # rows whose list is gone, so that their column is not known

    def reasons(self) -> list[Reason]:
        """Why some were not delivered, the most frequent first."""
        return [Reason(code=code, meaning=meaning(code), count=count) for code, count in self.codes.most_common()]

    def by_value(self) -> list[tuple[str, Tally]]:
        """The values of the column, the most frequent first; the rest together as the last."""
        ordered = sorted(self.values.items(), key=lambda item: (-item[1].recipients, item[0]))
        shown, rest = ordered[:MOST_VALUES], ordered[MOST_VALUES:]
        if rest:
            together = Tally()
            for _value, tally in rest:
                together.add(tally)
            shown.append((_("all others ({count:,})").format(count=len(rest)), together))
        return [(_(value) if value in (OTHERS, BLANK) else value, tally) for value, tally in shown]


def findings(journal: Path, campaign: str, *, by: str | None = None, zone: tzinfo = CHINA) -> Findings:
    """Read every result of a campaign once. `by`: a column of its list; `zone`: of the times. Raises JournalError, SchemaMismatch, PlanError."""
    with looking(journal, campaign) as look:
        found = Findings(known=look.known, column=by)
        sources = look.known.sources if by is not None else []
        with originals(sources, kept_folder(journal)) as lists:
            heads = heads_of(lists)
            if by is not None and (not any(each.list_file for each in lists) or by not in heads.names):
                raise PlanError(_no_such(by, [each.problem for each in lists if each.problem], heads.names))
            at = heads.names.index(by) if by is not None else 0
            places = [place[at] for place in heads.places]
            for rows in joined(look, lists, times_in(zone)):
                _count(found, rows)
                if by is not None:
                    _by_column(found, rows, places)
    return found


def _no_such(by: str, problems: Sequence[str], names: Sequence[str]) -> str:
    if problems:
        return _("--by {by}: the columns of the list are not there any more: it {problem}").format(
            by=by, problem=problems[0]
        )
    return _("--by: the list has no column {by!r}; there are: {names}").format(by=by, names=", ".join(names))


def _count(found: Findings, rows: Sequence[Joined]) -> None:
    results = [result for row in rows for result in row.results]
    found.submitted.update([each.submitted[:16] for each in results if each.submitted])
    found.delivered.update([each.reported[:16] for each in results if each.delivery == "delivered"])
    undelivered = [each for each in results if each.delivery == "undelivered"]
    found.undelivered.update([each.reported[:16] for each in undelivered])
    found.codes.update([each.code for each in undelivered])
    found.refusals.update([mask(each.reason) for each in results if each.state == "refused"])
    found.doubts.update([mask(each.reason) for each in results if each.state == "in_doubt"])
    found.excluded.update([each.exclusion for each in results if each.exclusion])
    found.replies += sum(bool(each.reply) for each in results)


def _by_column(found: Findings, rows: Sequence[Joined], places: Sequence[int | None]) -> None:
    values = found.values
    for row in rows:
        place = places[row.source] if row.source < len(places) else None
        if row.cells is None or place is None:
            found.without_list += len(row.results)
            continue
        value = row.cells[place].strip() if place < len(row.cells) else ""
        if value not in values and len(values) >= _MOST_KEPT:
            value = OTHERS
        tally = values[value or BLANK]
        for result in row.results:
            if result.exclusion:
                tally.excluded += 1
                continue
            tally.recipients += 1
            tally.accepted += result.state == "accepted"
            tally.delivered += result.delivery == "delivered"
            tally.undelivered += result.delivery == "undelivered"


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

_STEPS_MIN = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time of the chart: from `begin` (in the zone of the findings), `minutes` long."""

    begin: datetime
    minutes: int
    submitted: int
    delivered: int
    undelivered: int


def over_time(found: Findings, *, most: int = 48) -> list[Span]:
    """What happened, in at most so many spans of equal length, without gaps. Empty where nothing did."""
    minutes = [minute for each in (found.submitted, found.delivered, found.undelivered) for minute in each if minute]
    if not minutes:
        return []
    first, last = _parsed(min(minutes)), _parsed(max(minutes))
    length = (last - first).total_seconds() / 60 + 1
    step = next((step for step in _STEPS_MIN if length / step <= most), None)
    if step is None:  # weeks: whole days
        step = 1440 * max(1, -(-int(length) // (1440 * most)))
    origin = first.replace(hour=0, minute=0)
    begin = int((first - origin).total_seconds()) // 60 // step
    end = int((last - origin).total_seconds()) // 60 // step
    counted = [_in_steps(each, origin, step) for each in (found.submitted, found.delivered, found.undelivered)]
    return [
        Span(
            begin=origin + timedelta(minutes=at * step),
            minutes=step,
            submitted=counted[0][at],
            delivered=counted[1][at],
            undelivered=counted[2][at],
        )
        for at in range(begin, end + 1)
    ]


def _in_steps(counts: Counter[str], origin: datetime, step: int) -> Counter[int]:
    found: Counter[int] = Counter()
    for minute, count in counts.items():
        if minute:
            found[int((_parsed(minute) - origin).total_seconds()) // 60 // step] += count
    return found


def _parsed(minute: str) -> datetime:
    return datetime.fromisoformat(minute)
