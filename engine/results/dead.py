"""Numbers that a campaign found dead (空号): reported undelivered with a code that says so, and not reached since."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.gateway.polls import ReportState
from engine.journal.results import BatchResult, ResultsLook, looking

_ALL = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """The dead numbers by code, how many of those reported dead were reached later, and all codes of undelivered ones."""

    by_code: dict[str, list[str]]
    reached_since: int
    codes: dict[str, int]


def dead_numbers(journal: Path, campaign: str, codes: Sequence[str]) -> Dead:
    """Whom a campaign found dead by these codes. Raises JournalError, SchemaMismatch, PlanError."""
    wanted = {code.upper(): code for code in codes}
    by_code: dict[str, list[str]] = {}
    earliest = _ALL
    with looking(journal, campaign) as look:
        for each in _batches(look):
            for told in each.reports:
                code = told.error_code or told.status
                if told.state is not ReportState.UNDELIVERED or code.upper() not in wanted:
                    continue
                ours = set(each.mobiles) - each.omitted
                by_code.setdefault(code, []).extend(mobile for mobile in told.mobiles if mobile in ours)
                earliest = min([earliest, *(int(at) for at in told.at_s if at)])
        named = sum(map(len, by_code.values()))
        if named:
            reached = look.delivered_since(earliest * 1_000_000 if earliest < _ALL else 0)
            by_code = {code: [one for one in numbers if one not in reached] for code, numbers in by_code.items()}
        left = sum(map(len, by_code.values()))
        return Dead(by_code=by_code, reached_since=named - left, codes=look.codes())


def _batches(look: ResultsLook) -> Iterator[BatchResult]:
    stream = look.batches()
    while stream.next_line is not None:
        yield stream.take()
