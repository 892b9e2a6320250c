"""What one attempt to hand over a batch came to: the outcome table of gateway/protocol.md §18, as a pure function.

A wrong "not taken" is a message twice, a wrong "accepted" is a message lost. So only what is certain leaves the doubt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from engine.errors import BadAnswer
from engine.gateway.decoding import decoded, shown
from engine.gateway.failures import Failure, failure_of, quoted, refusal_kind
from engine.gateway.profile import Profile
from engine.gateway.wire import SendAnswer, read_send
from engine.language import N_, _
from engine.model import Outcome, OutcomeKind, PauseReason
from engine.records import record

LONGEST_RETRY_AFTER_S = 86_400.0


@record
class Exchange:
    """One HTTP answer: the status line came, and `body` as far as it came.

    `complete` says that HTTP's own framing was fulfilled; `retry_after` and `charset` are None when absent.
    """

    status: int
    body: bytes = field(repr=False)
    complete: bool
    at: datetime
    charset: str | None = None
    retry_after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportFailure:
    """No status line came. `sent` says whether any byte of the request may have been written; `problem` is in words.

    `ended_there`: the other side ended the conversation, and so soon that it was not a box on the way losing its patience.
    """

    sent: Literal["no", "maybe"]
    problem: str
    ended_there: bool = False
    pause: PauseReason | None = None  # not sent, and only another configuration can mend it


def outcome_of(
    exchange: Exchange | TransportFailure,
    profile: Profile,
    *,
    answered_before: bool,
    batch_size: int,
    by_proxy: bool = False,
) -> Outcome:
    """The row of the table. `answered_before`: the application has answered at this path in this run; `batch_size` in numbers.

    `by_proxy`: a proxy of ours reads our requests and sends them itself, so that a status may be its own.
    """
    if isinstance(exchange, TransportFailure):
        kind = OutcomeKind.NOT_SENT if exchange.sent == "no" else OutcomeKind.IN_DOUBT
        return Outcome(kind=kind, reason=exchange.problem, may_land_late=not exchange.ended_there, pause=exchange.pause)
    said = _of_body(exchange, profile, batch_size) if exchange.status == 200 else None
    if said is not None and said.kind is OutcomeKind.ACCEPTED:
        return said  # nearly always
    # Whoever has answered in full does not begin to take the numbers afterwards; a proxy in front of it may still pass them on.
    answered = exchange.complete and application_spoke(exchange.body)
    if said is not None:
        return replace(said, http_status=200, may_land_late=not answered)
    if (
        not application_spoke(exchange.body)
        and (outcome := _of_status(exchange, answered_before, by_proxy)) is not None
    ):
        return outcome
    return replace(_doubt_by_status(exchange, profile, batch_size), may_land_late=not answered)


def application_spoke(body: bytes) -> bool:
    """Whether a body comes from the gateway's application, as far as anybody can see: not from a server in front of it."""
    start = body[:65_536].lower()
    return b"<returnsms" in start or b'"returnstatus"' in start


# --- by the status line alone ---------------------------------------------------------------------------------------------

_CONFIGURATION = {
    401: N_("wants a login of its own"),
    405: N_("allows no POST here: is the path right?"),
    413: N_("finds the request too large: fewer numbers a batch"),
    414: N_("finds the address too long"),
}
_NOT_HERE = {403: N_("forbids this path"), 404: N_("knows no such path")}


def proxy_words(status: int) -> str:
    """What a proxy's own answer says, for people."""
    if status == 407:
        return _("HTTP 407: the proxy wants a login, or another one: set proxy_user and its password")
    return f"HTTP {status}"


def _of_status(exchange: Exchange, answered_before: bool, by_proxy: bool) -> Outcome | None:
    """The rows where the status proves that the application was not reached; None for every other status.

    A proxy says 407 instead of passing a request on. 502, 503 and 504 it also says after it has, whatever stands beside them.
    """
    status = exchange.status
    if by_proxy and status == 407:
        return _not_taken(exchange, PauseReason.CONFIGURATION, proxy_words(status))
    if by_proxy and status == 503:
        return None
    words = _CONFIGURATION.get(status) or (None if answered_before else _NOT_HERE.get(status))
    if words:
        return _not_taken(
            exchange,
            PauseReason.CONFIGURATION,
            _("HTTP {status}: the server {words}").format(status=status, words=_(words)),
        )
    if status == 429 or (status == 503 and exchange.retry_after is not None and exchange.complete):
        outcome = _not_taken(
            exchange,
            PauseReason.THROTTLED,
            _("HTTP {status}: the server asks to come back later").format(status=status),
        )
        return replace(outcome, retry_after_s=retry_after_s(exchange.retry_after, exchange.at))
    return None


def _not_taken(exchange: Exchange, pause: PauseReason, reason: str) -> Outcome:
    return Outcome(
        kind=OutcomeKind.NOT_TAKEN, pause=pause, reason=reason, http_status=exchange.status, raw=_raw(exchange)
    )


def retry_after_s(value: str | None, at: datetime) -> float | None:
    """Retry-After, seconds or an HTTP date, as seconds from `at`; at most a day. None: absent or not readable."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return min(float(value), LONGEST_RETRY_AFTER_S)
    try:
        then = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if then.tzinfo is None:  # "-0000": UTC by its rule
        then = then.replace(tzinfo=UTC)
    return min(max((then - at).total_seconds(), 0.0), LONGEST_RETRY_AFTER_S)


def _doubt_by_status(exchange: Exchange, profile: Profile, batch_size: int) -> Outcome:
    """Any other status: in doubt, even around a readable answer. What that says is kept, because it helps to settle."""
    status = exchange.status
    if 300 <= status < 400:
        reason = _(
            "HTTP {status}: a redirect, which is not followed, because following it could send the batch twice"
        ).format(status=status)
    else:
        reason = _("HTTP {status}: nothing says whether the numbers were taken").format(status=status)
    inner = _of_body(exchange, profile, batch_size)
    if inner.task_id is not None or inner.kind is not OutcomeKind.IN_DOUBT:
        reason += _("; its body says: {words}").format(words=inner.reason)
    return Outcome(
        kind=OutcomeKind.IN_DOUBT,
        reason=reason,
        task_id=inner.task_id,
        success_counts=inner.success_counts,
        remaining=inner.remaining,
        http_status=status,
        raw=inner.raw,
    )


# --- by what the application says -----------------------------------------------------------------------------------------


def _of_body(exchange: Exchange, profile: Profile, batch_size: int) -> Outcome:
    if not exchange.complete:
        return Outcome(kind=OutcomeKind.IN_DOUBT, reason=_("the answer was cut off"), raw=_raw(exchange))
    try:
        answer = read_send(exchange.body, exchange.charset, profile)
    except BadAnswer as bad:
        return Outcome(kind=OutcomeKind.IN_DOUBT, reason=bad.problem, raw=bad.raw)
    return _of_success(answer, batch_size) if answer.success else _of_failure(answer, profile)


def _of_success(answer: SendAnswer, batch_size: int) -> Outcome:
    if answer.task_id is None:
        return _from(
            answer, OutcomeKind.IN_DOUBT, _("success without a task id: {words}").format(words=quoted(answer.message))
        )
    if answer.success_counts == batch_size and not answer.notes:
        return _from(answer, OutcomeKind.ACCEPTED, "")
    return _from(
        answer, OutcomeKind.ACCEPTED, "; ".join((*_short_or_long(answer.success_counts, batch_size), *answer.notes))
    )


def _short_or_long(counts: int | None, batch_size: int) -> tuple[str, ...]:
    if counts is None:
        return (N_("the answer does not say how many numbers were taken"),)
    if counts < batch_size:
        return (
            _("the gateway took {counts} of {batch_size} numbers, and does not say which").format(
                counts=counts, batch_size=batch_size
            ),
        )
    if counts > batch_size:
        return (
            _("the gateway counts {counts} for {batch_size} numbers: parts, not numbers").format(
                counts=counts, batch_size=batch_size
            ),
        )
    return ()


def _of_failure(answer: SendAnswer, profile: Profile) -> Outcome:
    """A failure; one that names a task or a count contradicts itself, and is believed in nothing."""
    words = quoted(answer.message)
    if answer.task_id is not None or answer.success_counts:
        return _from(
            answer,
            OutcomeKind.IN_DOUBT,
            _("the gateway reports a failure and numbers taken: {words}").format(words=words),
        )
    failure = failure_of(answer.message, profile.failure_texts)
    match failure:
        case Failure.IN_DOUBT:
            return _from(answer, OutcomeKind.IN_DOUBT, _("the gateway failed: {words}").format(words=words))
        case Failure.TOO_FREQUENT:
            outcome = _from(
                answer, OutcomeKind.NOT_TAKEN, _("the gateway asks to come back later: {words}").format(words=words)
            )
            return replace(outcome, pause=PauseReason.THROTTLED)
        case Failure.ACCOUNT | Failure.BALANCE | Failure.CONTENT | Failure.REQUEST | Failure.UNKNOWN:
            outcome = _from(answer, OutcomeKind.REFUSED, _("the gateway refused: {words}").format(words=words))
            return replace(outcome, refusal=refusal_kind(failure))


def _from(answer: SendAnswer, kind: OutcomeKind, reason: str) -> Outcome:
    return Outcome(
        kind=kind,
        reason=reason,
        task_id=answer.task_id,
        success_counts=answer.success_counts,
        remaining=answer.remaining,
        raw=answer.raw,
        http_status=200,
        may_land_late=False,  # whoever answers so has ended the talk
    )


def _raw(exchange: Exchange) -> str:
    text = decoded(exchange.body[:65_536], exchange.charset)
    return shown(exchange.body[:65_536].decode("utf-8", "replace") if text is None else text)
