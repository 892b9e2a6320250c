"""The vocabulary. One word for one thing, in code, command line, journal and docs.

Row (one line of the input) · Recipient (one accepted mobile in a campaign) · Message (the final text) · Segment (what is
billed) · Batch (recipients sharing one Message and one request; membership frozen when planned) · Submission (one attempt
to hand over one Batch) · Answer (the parsed reply) · Outcome (what the attempt came to) · task id (the gateway's, a string) ·
Balance (points) · Entry (a ledger line) · Claim (a worker's timed right to a Batch) · In doubt (it may have been taken;
nobody knows yet).

Points are Decimals, never floats. Times are aware UTC datetimes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from engine.records import record


class BatchState(StrEnum):
    """Where a batch stands. Terminal: accepted, refused, cancelled, expired, split."""

    PLANNED = "planned"  # may be claimed
    CLAIMED = "claimed"  # a worker has the timed right to it; nothing has left
    SUBMITTING = "submitting"  # the intent is durable: from here on bytes may have left
    ACCEPTED = "accepted"  # a valid answer, or evidence, says the gateway took it
    REFUSED = "refused"  # the gateway said no, for good
    IN_DOUBT = "in_doubt"  # it may have been taken; never sent again without evidence that it was not
    CANCELLED = "cancelled"  # the campaign was cancelled, or every number in it opted out
    EXPIRED = "expired"  # the campaign's time was over before it was sent
    SPLIT = "split"  # replaced by smaller batches


class CampaignState(StrEnum):
    """What a campaign as a whole is doing. `finished` is computed from the batches, never stored."""

    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class PauseReason(StrEnum):
    """Why nothing more is sent at the moment."""

    OPERATOR = "operator"  # somebody asked for it
    CREDENTIALS = "credentials"  # the gateway refused the account; not one more request
    BALANCE = "balance"  # the gateway says the points do not reach
    CONTENT = "content"  # the one text of the campaign was refused
    CONFIGURATION = "configuration"  # wrong path or method: 401, 403, 404, 405, 413, 414
    UNREACHABLE = "unreachable"  # connections failed until the retries were used up
    THROTTLED = "throttled"  # the gateway said "too many" until the retries were used up
    REFUSALS = "refusals"  # several refusals in a row whose text is not known
    DOUBTS = "doubts"  # several lost answers in a row: a login page or a dead backend
    IN_DOUBT = "in_doubt"  # nothing is left to do but doubts are open
    STOPPED = "stopped"  # the process was asked to stop
    JOURNAL = "journal"  # the journal could not be written
    LIMIT = "limit"  # only a part was released with --limit
    WINDOW = "window"  # outside the hours in which the campaign may send
    FLOOR = "floor"  # the points that are to stay would not
    CANARY = "canary"  # too few of those who went first were delivered, or too few reports came
    SCHEDULE = "schedule"  # the moment at which the gateway was to send it is over
    UNDELIVERED = "undelivered"  # too many of the last reports say undelivered


class Exclusion(StrEnum):
    """Why a row is not a recipient. The first four are always in the status, the others when they occur."""

    INVALID = "invalid"  # no mainland mobile: wrong length, wrong prefix, letters
    DUPLICATE = "duplicate"  # the number is in the campaign already
    OPTED_OUT = "opted_out"  # the person asked for no more messages
    EMPTY = "empty"  # the row or its number cell is blank
    LANDLINE = "landline"  # an area code and a subscriber number
    FOREIGN = "foreign"  # a country code other than +86
    IOT = "iot"  # 13-digit machine numbers (10648…, 14xxx)
    DIGITS_LOST = "digits_lost"  # a spreadsheet wrote 1.38E+10
    EXCLUDED_LIST = "excluded_list"  # the number is on a list that was given with --exclude
    NOT_ON_LIST = "not_on_list"  # lists were given with --only, and the number is on none of them
    MALFORMED = "malformed"  # the row has too many or too few cells, so the columns cannot be trusted
    PLACEHOLDER = "placeholder"  # the text needs a cell that is blank in this row
    UNSENDABLE = "unsendable"  # the row's text holds something that cannot go through the gateway
    TOO_LONG = "too_long"  # the row's text is longer than the gateway takes
    FORBIDDEN_VALUE = "forbidden_value"  # the gateway forbids the row's text because of a cell of it
    TOO_OFTEN = "too_often"  # the number got as many messages lately as --max-per-number allows


ALWAYS_SHOWN = (Exclusion.INVALID, Exclusion.DUPLICATE, Exclusion.OPTED_OUT, Exclusion.EMPTY)


class Excluded(NamedTuple):
    """One row (or one extra number of it) that is not a recipient. `raw` is the cell as it stood in the file."""

    line: int
    raw: str
    reason: Exclusion
    detail: str


@dataclass(slots=True, kw_only=True)
class Chunk:
    """A stretch of the input, in order. Not frozen and not per recipient: the hot path of a million rows.

    `mobiles[i]` (11 ASCII digits, unique within the campaign) stands on physical line `lines[i]` (1-based, ascending).
    `rows` input rows were read, `extra` of their cells held a second number:
    rows + extra == len(mobiles) + len(excluded). `texts[i]` is what `mobiles[i]` gets; None: everybody gets the same.
    `original` gives the cells of the row on a line of this chunk, as they stood; for that, about `size` bytes are kept.
    """

    rows: int
    mobiles: list[str]
    lines: list[int]
    extra: int = 0
    excluded: list[Excluded] = field(default_factory=list)
    texts: list[Message] | None = None
    original: Callable[[int], Sequence[str]] = field(default=lambda line: (), repr=False, compare=False)
    size: int = field(default=0, repr=False, compare=False)


class Message(NamedTuple):
    """The final text as it goes on the wire, signature and opt-out included. There may be millions: a tuple.

    `units` are UTF-16 code units, `segments` what the gateway bills per recipient. Source: gateway/protocol.md, Length.
    """

    content: str
    units: int
    segments: int


class PlannedBatch(NamedTuple):
    """A batch as planning cuts it. `seq` counts from 1 in a campaign; `lines` is the compact form of its line numbers."""

    seq: int
    size: int
    mobiles: str  # comma-joined, exactly as in the request
    lines: str  # "2-101,103": runs of physical lines, one per mobile, in the order of `mobiles`
    message: int = 1  # the campaign's message, counted from 1


class OutcomeKind(StrEnum):
    """What one attempt to hand over a batch came to. Source: the outcome table in gateway/protocol.md."""

    ACCEPTED = "accepted"  # success word and task id, complete to the closing tag
    REFUSED = "refused"  # an application answer that says no
    NOT_SENT = "not_sent"  # no byte of the request was written
    NOT_TAKEN = "not_taken"  # bytes were written, and the answer proves that the application did not take them
    IN_DOUBT = "in_doubt"  # everything else


class RefusalKind(StrEnum):
    """What a refusal is about, which decides who stops."""

    ACCOUNT = "account"  # credentials: the account stops
    BALANCE = "balance"  # points: the campaign pauses
    CONTENT = "content"  # this text: the batch is refused
    REQUEST = "request"  # the request itself (no numbers, wrong parameter): the batch is refused
    UNKNOWN = "unknown"  # a text nobody knows: the batch is refused with it, a run of them pauses


@record
class Outcome:
    """What an attempt came to, with everything the ledger needs.

    `reason` is a sentence for people with the gateway's own words verbatim; `raw` the answer's text (cut at 4,000
    characters). `task_id`, `success_counts` and `remaining` (points left, as reported) only where the answer had them.
    """

    kind: OutcomeKind
    reason: str = ""
    refusal: RefusalKind | None = None
    pause: PauseReason | None = None  # not taken: 4xx that only a changed configuration can mend, or throttled
    retry_after_s: float | None = None
    task_id: str | None = None
    success_counts: int | None = None
    remaining: Decimal | None = None
    http_status: int | None = None
    raw: str = ""
    may_land_late: bool = (
        True  # in doubt: it may be taken after we gave up; False where the gateway ended the talk itself
    )

    @property
    def surely_not_taken(self) -> bool:
        """Whether the batch may be sent again. Refused batches are not: they ended."""
        return self.kind in (OutcomeKind.NOT_SENT, OutcomeKind.NOT_TAKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One `overage` answer. `remaining` is what the profile says the points left are; the raw fields are kept beside it."""

    at: datetime
    payinfo: str
    prepaid: bool | None  # None: the words are not known
    remaining: Decimal | None
    send_total: Decimal | None
    raw: str


@record
class Claim:
    """A worker's timed right to one batch. `lease_until_s` is on the clock that counts suspend (CLOCK_BOOTTIME, seconds)."""

    batch_id: int
    campaign_id: int
    seq: int
    message: Message  # what it says
    size: int
    mobiles: str
    attempts: int  # attempts made before this claim
    owner: str
    epoch: int
    lease_until_s: float
