"""What `xinshi why` shows: everything the journal knows of one number, campaign by campaign in order of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from engine.cli.pages import Line, grid, parts_words, times_line
from engine.dispatch.schedule import date_words
from engine.language import _
from engine.moments import when, with_local_times
from engine.runs.looking import listed
from engine.terms import word_of

if TYPE_CHECKING:
    from engine.journal.port import AttemptRow, OptOutHistory, ToldReport, Trace
    from engine.runs.looking import OfNumber


def number_page(found: OfNumber, accounts: Mapping[str, str], *, with_texts: bool = False) -> str:
    """Whether the number is opted out, and what happened to it. `accounts`: their names by their keys; `with_texts`: and what it is told."""
    page = f"\n{grid(_number_lines(found, accounts))}"
    return page + "".join(f"\n{grid(_trace_lines(trace, with_texts))}" for trace in found.traces)


def number_json(found: OfNumber, accounts: Mapping[str, str]) -> list[dict[str, Any]]:
    """The same for machines: an object a campaign, each with the opt-out that holds now."""
    now = [_opt_out_json(each, accounts) for each in found.opt_outs if each.removed_at is None]
    return [{**_trace_json(trace), "opted_out": now[-1] if now else None} for trace in found.traces]


# ── the number itself ────────────────────────────────────────────────────────────────────────────────────────────────


def _number_lines(found: OfNumber, accounts: Mapping[str, str]) -> Iterator[Line]:
    if found.mobile is None:
        yield (
            _("number"),
            _("{number}, which is no mobile number: {problem}").format(number=found.number, problem=found.problem),
            "",
        )
    else:
        yield _("number"), found.mobile, ""
        yield from _opt_out_lines(found.opt_outs, accounts)
    if not found.traces:
        yield _("campaigns"), _("in none of this journal"), ""
        yield _("looked at"), listed(found.lists), ""
    if found.opt_outs or any(trace.attempts for trace in found.traces):
        yield times_line()


def _opt_out_lines(opt_outs: Iterable[OptOutHistory], accounts: Mapping[str, str]) -> Iterator[Line]:
    standing = [each for each in opt_outs if each.removed_at is None]
    for each in opt_outs:
        if each.removed_at is not None:
            span = _("{at} to {removed_at}").format(at=when(each.opt_out.at), removed_at=when(each.removed_at))
            because = _(" ({because})").format(because=each.removed_because) if each.removed_because else ""
            yield _("was opted out"), span + because + _(", ") + _opt_out_words(each, accounts), ""
    for each in standing:
        since = _("since {at}").format(at=when(each.opt_out.at))
        yield _("OPTED OUT"), since + _(", ") + _opt_out_words(each, accounts), ""
    if not standing:
        yield _("opted out"), _("no"), ""


def _opt_out_words(each: OptOutHistory, accounts: Mapping[str, str]) -> str:
    """Where it comes from, what it is for, and the words."""
    if each.account is None:
        scope = _("for every account")
    elif each.account in accounts:
        scope = _("for the account {name}").format(name=accounts[each.account])
    else:
        scope = _("for an account that the settings do not have")
    words = _(": {reason}").format(reason=each.opt_out.reason) if each.opt_out.reason else ""
    return _("by {source}, {scope}{words}").format(source=word_of(each.opt_out.source.value), scope=scope, words=words)


def _opt_out_json(each: OptOutHistory, accounts: Mapping[str, str]) -> dict[str, Any]:
    return {
        "since": each.opt_out.at.isoformat(),
        "reason": each.opt_out.reason,
        "source": each.opt_out.source.value,
        "scope": "all" if each.account is None else "account",
        "account": None if each.account is None else accounts.get(each.account),
    }


# ── campaign by campaign ─────────────────────────────────────────────────────────────────────────────────────────────


def _trace_lines(trace: Trace, with_texts: bool) -> Iterable[Line]:
    yield _("campaign"), trace.campaign, ""
    yield _("state"), word_of(trace.state), ""
    if trace.exclusion is not None:
        yield _("left out"), with_local_times(trace.exclusion), ""
    if trace.notice is None:
        yield _("list"), _("{file}, line {line}").format(file=trace.file, line=trace.line), ""
    else:
        yield _("queue"), trace.file, ""
        yield _("message"), trace.notice, ""
    if trace.batch is not None:
        yield (
            _("batch"),
            f"{trace.batch}" if trace.attempts else _("{batch}, not sent yet").format(batch=trace.batch),
            "",
        )
    if trace.message is not None and trace.message.content:
        parts = parts_words(trace.message.segments)
        told_words = _("{units} characters, {parts}").format(units=trace.message.units, parts=parts)
        yield (
            _("text"),
            trace.message.content if with_texts else _("{told_words} (-v shows it)").format(told_words=told_words),
            "",
        )
    told = {report.task_id: report for report in trace.reports}
    for attempt in trace.attempts:
        without = _(", without this number") if attempt.number in trace.omitted_from else ""
        yield (
            _("attempt {number}").format(number=attempt.number),
            _("{at}: {what}").format(at=when(attempt.started_at), what=_attempt_words(attempt) + without),
            "",
        )
        if attempt.evidence:
            by = (
                _(", by {settled_by}").format(settled_by=word_of(attempt.settled_by.value))
                if attempt.settled_by
                else ""
            )
            at = _(" at {settled_at}").format(settled_at=when(attempt.settled_at)) if attempt.settled_at else ""
            yield "  " + _("settled"), f"{with_local_times(attempt.evidence)}{by}{at}", ""
        if attempt.waits_for:
            yield "  " + _("waits for"), with_local_times(attempt.waits_for), ""
        if attempt.task_id:
            yield "  " + _("task id"), attempt.task_id, ""
            yield "  " + _("report"), _report_words(told.get(attempt.task_id)), ""


def _attempt_words(attempt: AttemptRow) -> str:
    outcome = _("no outcome yet") if attempt.outcome is None else word_of(attempt.outcome.value)
    if attempt.scheduled_for is not None:
        outcome += _(", to be sent at {moment}").format(moment=date_words(attempt.scheduled_for))
    return _("{state}: {why}").format(state=outcome, why=_(attempt.reason)) if attempt.reason else outcome


def _report_words(told: ToldReport | None) -> str:
    if told is None:
        return _("none so far")
    code = f" {told.error_code}" if told.error_code else ""
    at = (
        _(" at {received_at}").format(received_at=when(told.received_at))
        if told.received_at
        else _(", without a time that can be read")
    )
    return _("{state}{at} (the gateway says 「{status}{code}」)").format(
        state=word_of(told.state.value), at=at, status=told.status, code=code
    )


def _trace_json(trace: Trace) -> dict[str, Any]:
    """One campaign's knowledge of a number, for machines."""
    told = {report.task_id: report for report in trace.reports}
    last = next((attempt.task_id for attempt in reversed(trace.attempts) if attempt.task_id), None)
    return {
        "campaign": trace.campaign,
        **_place_json(trace),
        "state": trace.state,
        "batch": trace.batch,
        "attempts": [
            {
                "number": attempt.number,
                "started": attempt.started_at.isoformat(),
                "ended": _iso(attempt.finished_at),
                **({"scheduled_for": _iso(attempt.scheduled_for)} if attempt.scheduled_for else {}),
                "outcome": None if attempt.outcome is None else attempt.outcome.value,
                "reason": attempt.reason,
                "task_id": attempt.task_id,
                "evidence": attempt.evidence or None,
                "settled_by": None if attempt.settled_by is None else attempt.settled_by.value,
                "settled_at": _iso(attempt.settled_at),
                "waits_for": attempt.waits_for or None,
                "carried": attempt.number not in trace.omitted_from,
                "report": None if attempt.task_id is None else _report_json(told.get(attempt.task_id)),
            }
            for attempt in trace.attempts
        ],
        "task_id": last,
        "report": None if last is None else _report_json(told.get(last)),
        "exclusion": trace.exclusion,
        "evidence": next((attempt.evidence for attempt in reversed(trace.attempts) if attempt.evidence), None),
    }


def _place_json(trace: Trace) -> dict[str, Any]:
    if trace.notice is None:
        return {"file": trace.file, "line": trace.line}
    return {"queue": trace.file, "message": trace.notice}


def _report_json(told: ToldReport | None) -> dict[str, Any] | None:
    if told is None:
        return None
    return {
        "state": told.state.value,
        "status": told.status,
        "error_code": told.error_code or None,
        "received": _iso(told.received_at),
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
