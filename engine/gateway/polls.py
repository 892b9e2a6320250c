"""What the answer to a poll holds: reports, replies, errors. Pure. Source: gateway/protocol.md §8-§11.

wire.py takes the document apart into boxes; here a box becomes a typed value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

from engine.gateway.failures import Failure, failure_of, normalised
from engine.gateway.forms import CHINA
from engine.gateway.profile import Profile
from engine.language import _
from engine.records import record

Box = tuple[str, Mapping[str, str]]  # a record's element and its values, both by lower-case name

_MANY = 1_024  # times and states that are remembered: reports tell the same ones again and again
NO_TASK = re.compile(r"0*")  # "", "0"
COUNT = re.compile(r"[0-9]{1,9}")


class ReportState(StrEnum):
    """What a delivery report says."""

    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    INTERIM = "interim"  # on its way: another report follows
    UNKNOWN = "unknown"  # a status nobody knows


@record
class Report:
    """One delivery report. `at` is aware UTC, None when `at_text` is no time. `task_id` None: the gateway named none."""

    mobile: str
    task_id: str | None
    state: ReportState
    status: str
    error_code: str
    at: datetime | None
    at_text: str
    extno: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One uplink. Times and task id as in a Report; `content` is what the person wrote."""

    mobile: str
    task_id: str | None
    content: str
    at: datetime | None
    at_text: str
    extno: str


class PollErrorKind(StrEnum):
    """What an error in the answer to a poll asks for. Source: gateway/protocol.md §10."""

    ACCOUNT = "account"  # credentials: stop polling this account
    FORBIDDEN = "forbidden"  # this account may not read them: stop polling
    REQUEST = "request"  # wrong parameters: a fault in the profile
    NO_DATA = "no_data"  # nothing new
    OTHER = "other"  # later again


@dataclass(frozen=True, slots=True, kw_only=True)
class PollError:
    """One error of a poll's answer. `code` None: the answer had none."""

    kind: PollErrorKind
    code: int | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """Everything that one poll's answer held; reports and replies may come mixed.

    `whole` is False when the document was cut or broken and was read record by record; `problems` name, one by one, what
    could not be read. The raw bytes must be stored before this is made: the gateway has forgotten them.
    """

    reports: tuple[Report, ...] = ()
    replies: tuple[Reply, ...] = ()
    errors: tuple[PollError, ...] = ()
    whole: bool = True
    problems: tuple[str, ...] = ()


def sorted_out(boxes: Iterable[Box], profile: Profile, *, damage: str = "") -> Polled:
    reports: list[Report] = []
    replies: list[Reply] = []
    errors: list[PollError] = []
    problems = [damage] if damage else []
    for place, (name, fields) in enumerate(boxes, 1):
        if name == "errorstatus":
            errors.append(_poll_error(fields, profile))
        elif not fields.get("mobile"):
            problems.append(_("record {place} names no number").format(place=place))
        elif name == "callbox":
            replies.append(_reply(fields))
        elif fields.get("status"):
            reports.append(_report(fields))
        else:
            problems.append(_("record {place} has no status").format(place=place))
    return Polled(
        reports=tuple(reports),
        replies=tuple(replies),
        errors=tuple(errors),
        whole=not damage,
        problems=tuple(problems),
    )


def _report(fields: Mapping[str, str]) -> Report:
    get = fields.get
    return report_of(
        fields["mobile"],
        get("taskid", ""),
        fields["status"],
        get("receivetime", ""),
        get("errorcode", ""),
        get("extno", ""),
    )


def report_of(mobile: str, task: str, status: str, at_text: str, error_code: str, extno: str) -> Report:
    """The report that a record's values make."""
    return Report(
        mobile=mobile,
        task_id=_task(task),
        state=_report_state(status, error_code),
        status=status,
        error_code=error_code,
        at=china_time(at_text),
        at_text=at_text,
        extno=extno,
    )


def _reply(fields: Mapping[str, str]) -> Reply:
    at_text = fields.get("receivetime", "")
    return Reply(
        mobile=fields["mobile"],
        task_id=_task(fields.get("taskid", "")),
        content=fields.get("content", ""),
        at=china_time(at_text),
        at_text=at_text,
        extno=fields.get("extno", ""),
    )


def _task(value: str) -> str | None:
    return None if NO_TASK.fullmatch(value) else value


# protocol.md §8. EXPIRED, REJECTD and DELETED are the operators' other final words.
_STATES = {
    "10": ReportState.DELIVERED,
    "DELIVRD": ReportState.DELIVERED,
    "20": ReportState.UNDELIVERED,
    "UNDELIV": ReportState.UNDELIVERED,
    "EXPIRED": ReportState.UNDELIVERED,
    "REJECTD": ReportState.UNDELIVERED,
    "DELETED": ReportState.UNDELIVERED,
    "ACCEPTD": ReportState.INTERIM,
}


@lru_cache(maxsize=_MANY)
def _report_state(status: str, error_code: str) -> ReportState:
    """The status decides; documents pair 10 with any error code. Only an ACCEPTD makes a failure provisional."""
    state = _STATES.get(status.upper(), ReportState.UNKNOWN)
    if state is ReportState.UNDELIVERED and error_code.upper().startswith("ACCEPTD"):
        return ReportState.INTERIM
    return state


_TIME = re.compile(
    r"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})[ T]+([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2}))?(?:\.[0-9]+)?"
)


@lru_cache(maxsize=_MANY)
def china_time(text: str) -> datetime | None:
    """A receivetime as aware UTC: padded, not padded, or with slashes; China time. None when it is no time."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    try:
        return datetime(*(int(part or 0) for part in match.groups()), tzinfo=CHINA).astimezone(UTC)  # type: ignore[misc,arg-type]  # six numbers
    except (ValueError, OverflowError):
        return None


_CODES = {1: PollErrorKind.ACCOUNT, 2: PollErrorKind.ACCOUNT, 3: PollErrorKind.FORBIDDEN, 4: PollErrorKind.REQUEST}


def _poll_error(fields: Mapping[str, str], profile: Profile) -> PollError:
    """Its words decide, then its number: number 5 is "no records" at one vendor and the balance at another (§10)."""
    number, text = fields.get("error", ""), fields.get("remark", "")
    code = int(number) if COUNT.fullmatch(number) else None
    words = normalised(text)
    if "没有记录" in words or "暂无" in words:
        kind = PollErrorKind.NO_DATA
    elif "不允许" in words:
        kind = PollErrorKind.FORBIDDEN
    elif failure_of(text, profile.failure_texts) is Failure.ACCOUNT:
        kind = PollErrorKind.ACCOUNT
    else:
        kind = PollErrorKind.OTHER if code is None else _CODES.get(code, PollErrorKind.OTHER)
    return PollError(kind=kind, code=code, text=text)
