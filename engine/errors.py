"""The error tree.

EngineError
├ SettingsError                 the operator fixes it; names key, value, source
├ IntakeError → BadRecipient    carries source and line; BadRecipient is counted, it does not stop a campaign
├ PlanError                     a message or recipient cannot fit the gateway's limits
├ SendRefused                   refused before sending: login, balance, window, text
├ JournalError → JournalBusy (again soon) · ClaimLost (another owns it) · SchemaMismatch (newer than the program)
├ GatewayError                  .sent is no | maybe; the raw text kept
│   → NotSent (never connected) · Refused (account, balance, content, request) · NoAnswer (cut: maybe) · BadAnswer (maybe)
├ QueueError                    the broker of a queue cannot be reached, refuses, or broke off
├ NotTold                       a notification could not be delivered; nothing else suffers from it
└ LedgerError → BalanceTooLow

Expected results are values (see `Outcome` in model.py); these are the surprises.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from engine.first_errors import EngineError as EngineError
from engine.first_errors import SettingsError as SettingsError
from engine.language import _


class IntakeError(EngineError):
    """The input cannot be read as a list of numbers.

    `source` is the file, `line` the 1-based physical line where it was noticed, None for the file as a whole.
    """

    def __init__(self, problem: str, *, source: Path | str | None = None, line: int | None = None) -> None:
        self.problem, self.source, self.line = problem, source, line
        source = _(source) if isinstance(source, str) else source  # "standard input"
        if source is None:
            place = ""
        elif line is None:
            place = f"{source}: "
        else:
            place = _("{source}, line {line}: ").format(source=source, line=line)
        super().__init__(place + problem)

    def __reduce__(self) -> tuple[Any, ...]:
        """Lists are read in a process of their own; the error must survive the way back."""
        return _intake_error, (type(self), self.problem, self.source, self.line)


def _intake_error(kind: type[IntakeError], problem: str, source: Path | str | None, line: int | None) -> IntakeError:
    return kind(problem, source=source, line=line)


class BadRecipient(IntakeError):
    """One row holds no sendable mobile. Raised by `numbers.normalise` and turned into an exclusion by the reader."""


class PlanError(EngineError):
    """A message, a batch size or a campaign name does not fit the gateway's limits or what the journal holds."""


class SendRefused(EngineError):
    """A send was refused before anything left (login, balance, window, text). Nothing of it stays in the journal."""


class JournalError(EngineError):
    """The journal could not be read or written: disk full, read-only, damaged."""


class JournalBusy(JournalError):
    """Another process owns the journal or the account. Again when it has ended; `owner_pid` when known."""

    def __init__(self, problem: str, *, owner_pid: int | None = None) -> None:
        self.owner_pid = owner_pid
        super().__init__(problem)


class ClaimLost(JournalError):
    """The batch is no longer in the state, with the owner and epoch, that this worker expects. It must not send."""


class SchemaMismatch(JournalError):
    """The journal was written by a newer program. Nothing was changed."""


class GatewayError(EngineError):
    """A conversation with the gateway failed. `sent` says whether any byte of the request may have left."""

    sent: Literal["no", "maybe"] = "maybe"

    def __init__(self, problem: str, *, raw: str = "", http_status: int | None = None) -> None:
        self.problem, self.raw, self.http_status = problem, raw, http_status
        super().__init__(problem)


class NotSent(GatewayError):
    """No byte of the request was written: DNS, refused, connect timeout, TLS, no free connection in time."""

    sent = "no"


class Refused(GatewayError):
    """The gateway answered, and said no (credentials, parameters, permission). `raw` has its words."""


class NoAnswer(GatewayError):
    """The request may have been written and no complete answer came: timeout, reset, cut."""


class BadAnswer(GatewayError):
    """An answer came that cannot be placed: HTML, empty, truncated, no known status word, no task id."""


class QueueError(EngineError):
    """The broker of a queue cannot be reached, refuses, or broke off. What it handed over and nobody acknowledged comes again."""


class NotTold(EngineError):
    """A notification could not be delivered on one of its ways. `may_help`: a later attempt may do better. Holds no address."""

    def __init__(self, problem: str, *, may_help: bool = False) -> None:
        self.may_help = may_help
        super().__init__(problem)


class LedgerError(EngineError):
    """The points do not allow what was asked."""


class BalanceTooLow(LedgerError):
    """The estimate is above the balance of a prepaid account and partial sending was not allowed."""
