"""Exports a campaign: every row of its list with what became of it, or only those in some states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from engine.errors import PlanError
from engine.intake.kept import kept_folder
from engine.journal.results import Known, looking
from engine.language import _
from engine.moments import CHINA, local
from engine.results.columns import Table, table_of, wanted_states
from engine.results.landing import STANDARD_OUTPUT, landing
from engine.results.original import file_of, originals
from engine.results.rows import Joined, joined, times_in
from engine.results.writers import Form, writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export came to. `states` and `delivery` count all results, `lines` those that were written.

    `lacking` names the lists that were not there, and why: their lines have the number and no other column of theirs.
    """

    lines: int
    states: Counter[str]
    delivery: Counter[str]
    lacking: tuple[tuple[str, str], ...]


def export(
    journal: Path,
    campaign: str,
    target: Path,
    *,
    form: Form = Form.CSV,
    states: str | None = None,
    columns: Sequence[str] | None = None,
    zone: tzinfo = CHINA,
) -> Exported:
    """Write a campaign's rows with their results to `target` (- is standard output). All of one moment, in bounded memory.

    `states`: only these, as in `xinshi export --state`; `zone`: of the times, which CSV has without their offset. Raises JournalError, SchemaMismatch, PlanError, IntakeError.
    """
    wanted = wanted_states(states)
    with looking(journal, campaign) as look, originals(look.known.sources, kept_folder(journal)) as lists:
        _refuse(look.known, target, journal)
        table = table_of(lists, columns, queue=look.known.queue)
        tally = _Tally()
        with landing(target) as file, writing(form, file, table.names, table.plain) as write:
            for rows in joined(look, lists, times_in(zone, plain=form is Form.CSV)):
                tally.count(rows)
                lines = _lines(rows, table, wanted)
                tally.lines += len(lines)
                write(lines)
    return Exported(
        lines=tally.lines,
        states=tally.states,
        delivery=tally.delivery,
        lacking=tuple((each.label, each.problem) for each in lists if each.list_file is None),
    )


class _Tally:
    def __init__(self) -> None:
        self.lines = 0
        self.states: Counter[str] = Counter()
        self.delivery: Counter[str] = Counter()

    def count(self, rows: Sequence[Joined]) -> None:
        self.states.update([result.state for row in rows for result in row.results])
        self.delivery.update([result.delivery for row in rows for result in row.results if result.delivery])


def _lines(rows: Sequence[Joined], table: Table, wanted: frozenset[str] | None) -> list[list[str]]:
    """A line for each result that is wanted."""
    lines = table.lines(rows)
    if wanted is None:
        return lines
    results = (result for row in rows for result in row.results)
    return [
        line
        for line, result in zip(lines, results, strict=True)
        if not wanted.isdisjoint((result.state, result.delivery, result.exclusion))
    ]


def _refuse(known: Known, target: Path, journal: Path) -> None:
    if known.forgotten_at is not None:
        raise PlanError(
            _(
                "the numbers and texts of {name} were forgotten on {at:%Y-%m-%d}; its counts are there: xinshi status {name}"
            ).format(name=known.name, at=local(known.forgotten_at))
        )
    if target == STANDARD_OUTPUT or not target.exists():
        return
    mine = [journal, *filter(None, map(file_of, known.sources))]
    if any(each.samefile(target) for each in mine if each.exists()):
        raise PlanError(
            _("{target} is the list of the campaign or its journal; name another file for the export").format(
                target=target
            )
        )
