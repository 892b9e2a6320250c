"""One result for each input row, beside the row as it stands in its list. Bounded memory, in the order of the lists.

A batch is opened when the reading of the list reaches its first line, and gone when its last line has passed: with one text
that is a batch at a time, with many texts one for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import repeat
from operator import itemgetter
from typing import NamedTuple

from engine.gateway.polls import ReportState
from engine.intake.originals import original_rows
from engine.journal.audits import CLOCK_SKEW
from engine.journal.results import BatchResult, BatchStream, LeftOut, ResultsLook, Told, Wrote
from engine.language import N_, _
from engine.lines import tagged, untagged
from engine.model import BatchState, Exclusion
from engine.results.original import Original

_AT_ONCE = 4_000  # results given out together where no list is read
_SKEW_US = CLOCK_SKEW // timedelta(microseconds=1)  # the gateway's clock may be behind, and tells whole seconds
_LAST_LINE = (1 << 32) - 1

_STATE_WORDS = {
    BatchState.PLANNED: "planned",
    BatchState.CLAIMED: "in_flight",
    BatchState.SUBMITTING: "in_flight",
    BatchState.ACCEPTED: "accepted",
    BatchState.REFUSED: "refused",
    BatchState.IN_DOUBT: "in_doubt",
    BatchState.CANCELLED: "cancelled",
    BatchState.EXPIRED: "expired",
}
STATE_WORDS = tuple(dict.fromkeys(_STATE_WORDS.values()))
DELIVERY_WORDS = ("delivered", "undelivered", "unreported")
EXCLUDED = "excluded"

_NOT_FINAL = {ReportState.INTERIM: N_("on its way"), ReportState.UNKNOWN: N_("a status nobody knows")}

_MEANINGS = {
    "UNDELIV": N_("not reachable or suspended"),
    "EXPIRED": N_("switched off or out of reach until the message expired"),
    "REJECTD": N_("rejected on the way"),
    "DELETED": N_("deleted on the way"),
    "MK:0001": N_("usually: the number is not in use (空号)"),
    "DB:0141": N_("usually: the number is on a carrier's black list"),
}
"""Of a few codes that mean the same at most gateways. Each vendor has its own; the code itself is always shown."""


Written = Callable[[str], str]
"""A time as it is to be read, of its seconds since 1970 UTC; "" of ""."""


class Result(NamedTuple):
    """What became of one row, or of one number of it. All text but `line`, so that it can be written as it is.

    `line` is tagged with its list (engine/lines.py), 0 where the recipient comes from a queue. `cell` is the number cell of an
    excluded row, "" of a recipient. Times are `Written`. From `state` to `reply` it is what an export usually shows.
    """

    number: str
    line: int
    batch: str
    exclusion: str
    code: str
    state: str
    delivery: str = ""
    task_id: str = ""
    submitted: str = ""
    answered: str = ""
    reported: str = ""
    reason: str = ""
    replied: str = ""
    reply: str = ""
    cell: str = ""
    message: str = ""  # the id of the queue's message it came in
    scheduled: str = ""  # when the gateway was to send it


class Joined(NamedTuple):
    """A row of a list and what became of it: one result for each of its numbers. `cells` None: the list is not there."""

    source: int  # the place of the list, from 0
    cells: list[str] | None
    results: Sequence[Result]


UNKNOWN_ROW = Result("", 0, "", "", "", "", reason=N_("the journal knows nothing of this row"))
_new = tuple.__new__  # of a million results a third of the time was NamedTuple's own way


def joined(look: ResultsLook, lists: Sequence[Original], written: Written) -> Iterator[list[Joined]]:
    """Every row of the lists in order, some thousand at a time; then what comes from no list. `written`: how times are."""
    waiting = _Waiting(look, written)
    for source, each in enumerate(lists):
        if each.list_file is not None:
            for lines, rows in original_rows(each.list_file):
                yield waiting.with_rows(source, lines, rows)
        # Without its list, or (never, unless somebody changed the journal) on lines the list does not have.
        yield from waiting.left(tagged(source, _LAST_LINE))
    yield from waiting.left(None)


class _Waiting:
    """The results of opened batches and of excluded rows, by line, until their line comes."""

    def __init__(self, look: ResultsLook, written: Written) -> None:
        self._look = look
        self._batches: BatchStream = look.batches()
        self._excluded = look.left_out()
        self._next: LeftOut | None = next(self._excluded, None)
        self._read = _Reading(look, written)
        self._found: dict[int, tuple[Result, ...]] = {}
        self._loose: list[Result] = []  # of queues: they stand on no line

    def with_rows(self, source: int, lines: Sequence[int], rows: Sequence[list[str]]) -> list[Joined]:
        """Rows of a list with their results."""
        offset = tagged(source, 0)
        for __ in self._opening(offset + lines[-1]):
            pass
        take, unknown = self._found.pop, (UNKNOWN_ROW._replace(reason=_(UNKNOWN_ROW.reason)),)
        return [Joined(source, cells, take(offset + line, unknown)) for line, cells in zip(lines, rows, strict=True)]

    def left(self, last: int | None) -> Iterator[list[Joined]]:
        """What stands on lines up to `last` and no list shows, by line; None: all that is left."""
        most = _AT_ONCE  # many texts keep many batches open: then it is looked at less often
        for coming in self._opening(last):
            if len(self._found) + len(self._loose) >= most:
                yield self._given([line for line in self._found if line < coming])
                most = max(_AT_ONCE, 2 * len(self._found))
        yield self._given([line for line in self._found if last is None or line <= last])

    def _given(self, lines: Iterable[int]) -> list[Joined]:
        rows = [Joined(untagged(line)[0], None, self._found.pop(line)) for line in sorted(lines)]
        loose, self._loose = self._loose, []
        return rows + [Joined(0, None, (result,)) for result in loose]

    def _opening(self, last: int | None) -> Iterator[int]:
        """Open what begins on lines up to `last`, in order. Gives the line of what was opened: nothing later is above it."""
        while True:
            batch = self._batches.next_line
            row = None if self._next is None else self._next.line
            if batch is not None and (row is None or batch <= row):
                if last is not None and batch > last:
                    return
                each = self._batches.take()
                self._add(each.lines, self._read.batch(each))
                yield batch
            elif row is not None and self._next is not None and (last is None or row <= last):
                self._found[row] = (*self._found.get(row, ()), _excluded(self._next, self._look))
                self._next = next(self._excluded, None)
                yield row
            else:
                return

    def _add(self, lines: Sequence[int], results: list[Result]) -> None:
        if not lines:
            self._loose += results
        elif self._found.keys().isdisjoint(lines) and len(set(lines)) == len(lines):
            self._found.update(zip(lines, zip(results, strict=True), strict=True))
        else:
            for line, result in zip(lines, results, strict=True):
                self._found[line] = (*self._found.get(line, ()), result)


class _Reading:
    """Makes results of batches. The times of a batch are written once for all who are in it."""

    def __init__(self, look: ResultsLook, written: Written) -> None:
        self._look, self._written = look, written

    def batch(self, each: BatchResult) -> list[Result]:
        """A result for each of its numbers, in its order."""
        lines = each.lines or [0] * len(each.mobiles)
        state, seq = _STATE_WORDS[each.state], str(each.seq)
        task_id, submitted, answered = each.task_id, self._time(each.started_us), self._time(each.finished_us)
        scheduled = self._time(each.scheduled_us)
        accepted = each.state is BatchState.ACCEPTED
        reason = each.reason if each.state in (BatchState.REFUSED, BatchState.IN_DOUBT) else ""
        silent = ("unreported" if accepted else "", "", reason, "")
        told, omitted = _told_by_number(each.reports, self._written) if accepted else {}, each.omitted
        wrote = self._replies(each)
        came_in = self._look.messages_of(each.lines)
        results = []
        for mobile, line in zip(each.mobiles, lines, strict=True):
            if mobile in omitted:
                results.append(_opted_out(mobile, line, seq, came_in.get(line, "")))
                continue
            delivery, code, why, reported = told.get(mobile, silent)
            replied, reply = self._words(wrote[mobile]) if mobile in wrote else ("", "")
            fields = (
                *(mobile, line, seq, "", code),
                *(state, delivery, task_id, submitted, answered, reported, why, replied, reply, ""),
                came_in.get(line, "") if came_in else "",
                scheduled,
            )
            results.append(_new(Result, fields))
        return results

    def _replies(self, each: BatchResult) -> Mapping[str, list[Wrote]]:
        """What its people wrote after it was sent to them, and not to another campaign."""
        if not each.replies or each.started_us is None:
            return {}
        ours = {mobile: each.replies[mobile] for mobile in each.mobiles if mobile in each.replies}
        named = {wrote.task_id for said in ours.values() for wrote in said if wrote.task_id}
        named.discard(each.task_id)
        foreign = self._look.is_of_another(sorted(named)) if named else set()
        begin = each.started_us - _SKEW_US
        found = {
            mobile: [
                wrote
                for wrote in said
                if wrote.task_id == each.task_id
                or (wrote.task_id not in foreign and (wrote.at_us is None or wrote.at_us >= begin))
            ]
            for mobile, said in ours.items()
        }
        return {mobile: said for mobile, said in found.items() if said}

    def _words(self, said: Sequence[Wrote]) -> tuple[str, str]:
        """When a person wrote first, and everything they wrote."""
        said = sorted(said, key=lambda wrote: wrote.at_us or 0)
        return self._time(said[0].at_us), " | ".join(map(itemgetter(2), said))

    def _time(self, at_us: int | None) -> str:
        """Microseconds since 1970 UTC to the second; "" for no time."""
        return "" if at_us is None else self._written(str(at_us // 1_000_000))


_Final = tuple[str, str, str, str]  # delivery, code, reason, when it was reported


def _told_by_number(reports: Sequence[Told], written: Written) -> dict[str, _Final]:
    found: dict[str, _Final] = {}
    for each in reports:
        delivery, code, why = _words_of(each)
        alike = zip(repeat(delivery), repeat(code), repeat(why), map(written, each.at_s))
        found.update(zip(each.mobiles, alike, strict=True))
    return found


def _words_of(told: Told) -> tuple[str, str, str]:
    """Delivery, code and reason."""
    code = told.error_code or told.status
    said = " ".join(filter(None, (told.status, told.error_code)))
    if told.state is ReportState.DELIVERED:
        return "delivered", code, ""
    if told.state is ReportState.UNDELIVERED:
        known = meaning(code)
        words = _("the gateway says {said}: {meaning}") if known else _("the gateway says {said}")
        return "undelivered", code, words.format(said=said, meaning=known)
    return (
        "unreported",
        code,
        _("the gateway says {said}: {meaning}").format(said=said, meaning=_(_NOT_FINAL[told.state])),
    )


def meaning(code: str) -> str:
    """What a code means at most gateways; "" where each has its own meaning for it."""
    return _(_MEANINGS.get(code.upper(), ""))


def _opted_out(mobile: str, line: int, seq: str, message: str) -> Result:
    word = Exclusion.OPTED_OUT.value
    why = _("{reason}: after planning, before it was sent").format(reason=word)
    return Result(mobile, line, seq, word, "", EXCLUDED, reason=why, message=message)


def _excluded(row: LeftOut, look: ResultsLook) -> Result:
    why, message = f"{row.reason}: {_(row.detail)}", look.messages_of([row.line]).get(row.line, "")
    return Result("", row.line, "", row.reason, "", EXCLUDED, reason=why, cell=row.raw, message=message)


def times_in(zone: tzinfo, *, plain: bool = False) -> Written:
    """How times are written: ISO 8601 with the zone's offset; `plain`: as spreadsheets take it for a time, without offset."""

    @lru_cache(maxsize=8192)
    def written(seconds: str) -> str:
        if not seconds:
            return ""
        at = datetime.fromtimestamp(int(seconds), zone)
        return at.replace(tzinfo=None).isoformat(" ") if plain else at.isoformat()

    return written
