"""What a journal can do, in our words. Stages know this page and no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Protocol

from engine.gateway.polls import ReportState
from engine.model import (
    Balance,
    BatchState,
    CampaignState,
    Claim,
    Excluded,
    Exclusion,
    Message,
    Outcome,
    OutcomeKind,
    PauseReason,
    PlannedBatch,
    RefusalKind,
)
from engine.records import record


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """One input file of a campaign, as it was when it was planned. `sha256` in hex, `size` in bytes.

    `inside`: the archive's member or the workbook's sheet; `column` (of the numbers, from 0) and `first_line` (where its data
    begins) say how it was read. None: planned before that was kept.
    """

    path: str
    sha256: str
    size: int
    encoding: str
    number_column: str
    inside: str = ""
    column: int | None = None
    first_line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """What the operator decided of a campaign: when it may send, how fast, how many points stay, and who goes first.

    `windows` as they were written, in the time of `zone`. `scheduled_for`: it is handed over at any hour, and the gateway sends it
    then. `canary` in recipients, of whose reports the share `canary_delivered` (0 to 1) must say delivered. `keep_points` and the
    pace (0: no limit) None: as the settings say.
    """

    not_before: datetime | None = None
    windows: tuple[str, ...] = ()
    zone: str = ""
    expires_at: datetime | None = None
    scheduled_for: datetime | None = None
    keep_points: Decimal | None = None
    canary: int = 0
    canary_delivered: float = 0.0
    canary_wait_s: float = 0.0
    requests_per_second: float | None = None
    numbers_per_second: float | None = None
    in_flight: int | None = None

    @property
    def has_own_pace(self) -> bool:
        """Whether something was said of how fast it goes."""
        return (self.requests_per_second, self.numbers_per_second, self.in_flight) != (None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is known of a campaign before its rows are read."""

    name: str
    account: str
    profile: str
    order_key: str
    plan_hash: str
    messages: Sequence[Message]  # those known by now; others come with the plan
    sources: Sequence[SourceRecord]
    created_at: datetime
    screened: int = 0  # the last opt-out (its seq) that its rows are screened for
    wording: str = ""  # how rows are told, so that more can be added; "": by the one message
    conduct: Conduct = Conduct()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTotals:
    """The counts with which a campaign becomes visible. rows + extra == excluded + recipients."""

    rows: int
    extra: int
    recipients: int
    estimated: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRecord:
    """A campaign as the journal holds it."""

    campaign_id: int
    name: str
    account: str
    profile: str
    order_key: str
    plan_hash: str
    stored_state: CampaignState
    reasons: tuple[PauseReason, ...]
    detail: str
    rows: int
    extra: int
    recipients: int
    estimated: Decimal
    sendable: int | None
    created_at: datetime
    screened: int = 0  # the last opt-out (its seq) that planning knew; later ones are looked for at every attempt
    grows: bool = False  # from a queue: more may come to it at any time
    forgotten_at: datetime | None = None  # since when its numbers and texts are gone
    wording: str = ""  # how rows are told; "": by the one message
    conduct: Conduct = Conduct()
    canary_seq: int | None = None  # the last batch of the canary; None: not chosen yet
    canary_passed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Batches and recipients in one state."""

    batches: int = 0
    recipients: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignCounts:
    """A campaign counted: excluded rows by reason, batches and recipients by state, points charged, shortfall.

    `shortfall` is the number of recipients the gateway's success counts leave out of accepted batches.
    """

    excluded: dict[Exclusion, int]
    states: dict[BatchState, Tally]
    charged: Decimal
    shortfall: int = 0
    # Refusals and doubts in words -> recipients.
    reasons: dict[tuple[BatchState, str], int] = field(default_factory=dict)


@record
class Submitted:
    """A durable intent: from now on bytes may leave. `mobiles` are the exact numbers this attempt carries."""

    number: int  # of the attempt, from 1
    claim: Claim
    mobiles: str
    size: int
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A balance reading of an account, and the charges that lie between it and the one before."""

    at: datetime
    remaining: Decimal | None
    send_total: Decimal | None
    charged_since_last: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """A batch as the audit sees it. `lines[i]` is the line `mobiles[i]` stands on.

    `omitted` of its numbers were left out last, because they had opted out: all of them where it was cancelled for that.
    """

    seq: int
    state: BatchState
    size: int
    attempts: int
    mobiles: list[str]
    lines: list[int]
    omitted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """An attempt as the audit sees it. `evidence` is "" where no doubt was ended, `charge` None where nothing was entered.

    `omitted` are the numbers of its batch that it did not carry; `waits_for` says why its doubt is still open.
    """

    seq: int  # of its batch
    number: int
    size: int
    started_at: datetime
    finished_at: datetime | None
    outcome: OutcomeKind | None
    refusal: RefusalKind | None
    reason: str
    task_id: str | None
    success_counts: int | None
    evidence: str
    charge: Decimal | None
    omitted: tuple[str, ...] = ()
    settled_by: SettledBy | None = None
    settled_at: datetime | None = None
    waits_for: str = ""
    scheduled_for: datetime | None = None  # when the gateway sends it; None: at once

    @property
    def is_open(self) -> bool:
        """In doubt, and nothing has said yet what became of it."""
        return self.outcome is OutcomeKind.IN_DOUBT and not self.evidence

    @property
    def was_taken(self) -> bool:
        """The gateway took it: it said so, or the evidence does."""
        return self.outcome is OutcomeKind.ACCEPTED or self.evidence.startswith("taken:")

    @property
    def was_settled_not_taken(self) -> bool:
        """It was in doubt, and the evidence says that the gateway did not take it."""
        return self.evidence.startswith("not taken:")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReports:
    """The mobiles that reports under one task id name. `attempt` (batch seq, number) has that id, None: none has."""

    task_id: str
    mobiles: list[str]
    attempt: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOutSpan:
    """From when to when a number was opted out; `removed_at` None: it still is."""

    mobile: str
    at: datetime
    removed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """An attempt of the account that was charged, or may have been. `segments` are those of its text.

    `charge` was entered for the time `at`; both None while nobody knows. `finished_at` None: in flight.
    """

    campaign: str
    seq: int
    number: int
    size: int
    segments: int
    started_at: datetime
    finished_at: datetime | None
    in_doubt: bool  # its answer was lost, whatever was found out later
    may_land_late: bool
    charge: Decimal | None
    at: datetime | None
    settled_by: SettledBy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditView:
    """One campaign, whole: what the audit needs, from one moment."""

    rows: int
    extra: int
    excluded_lines: list[int]
    batches: list[BatchRow]
    attempts: list[AttemptRow]
    segments: int
    reports: list[TaskReports] = field(default_factory=list)  # under the campaign's task ids
    orphans: list[TaskReports] = field(default_factory=list)  # under ids nobody has, received since the campaign began
    nameless: list[list[str]] = field(default_factory=list)  # what each attempt carried that an orphan may belong to
    opt_outs: list[OptOutSpan] = field(default_factory=list)  # of the account
    readings: list[StretchReading] = field(default_factory=list)  # of the account, from the campaign's first on
    spendings: list[Spending] = field(default_factory=list)  # of the account, as far as they reach into these readings
    account_charged: Decimal = Decimal(0)  # by everything in this journal
    elsewhere: list[str] = field(default_factory=list)  # comma-joined numbers that other campaigns may have sent to
    notices: dict[int, str] | None = None  # of a queue: the message each line came with; None: planned from lists
    forgotten_at: datetime | None = None  # since when its numbers and texts are gone: what stays are counts

    @property
    def state_of(self) -> dict[int, BatchState]:
        """The state of every batch, by its seq."""
        return {batch.seq: batch.state for batch in self.batches}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldReport:
    """What the gateway reported of one number under one task id."""

    task_id: str
    state: ReportState
    status: str
    error_code: str
    received_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What the journal knows of one number in one campaign: where it stands, and what was done with it.

    `at`: when something was first done with it, else when the campaign was planned.
    """

    campaign: str
    at: datetime
    file: str
    line: int
    state: str  # of its batch, or "excluded"
    batch: int | None = None
    attempts: list[AttemptRow] = field(default_factory=list)
    omitted_from: frozenset[int] = frozenset()  # the attempts (their numbers) that went without this number
    reports: list[ToldReport] = field(default_factory=list)  # under the task ids of these attempts
    exclusion: str | None = None
    message: Message | None = field(default=None, repr=False)  # what the number is told
    notice: str | None = None  # the message of a queue it came with; `file` is the queue then


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortBatch:
    """An accepted batch of which the gateway counted `lacking` numbers fewer than it carried.

    `unreported` are those without any report, once none is waited for any more; None until then. `lines[i]` is the line
    `unreported[i]` stands on.
    """

    seq: int
    lacking: int
    unreported: tuple[str, ...] | None
    lines: tuple[int, ...] = ()


class Kind(NamedTuple):
    """So many batches of `size` numbers with `segments` a recipient."""

    size: int
    segments: int
    batches: int


NumberedMessage = tuple[int, Message]
"""A message and its number in the campaign, from 1."""


class Journal(Protocol):
    """What must survive. Every verb is durable when it returns.

    Raises JournalError when the store fails (disk full, read-only), JournalBusy when another process has it.
    """

    owner: str
    epoch: int

    async def begin_campaign(self, draft: Draft) -> int:
        """Store a campaign nobody sees yet, and return its id. Raises PlanError when the name is taken."""
        ...

    async def add_plan(
        self,
        campaign_id: int,
        batches: Sequence[PlannedBatch],
        excluded: Sequence[Excluded],
        messages: Sequence[NumberedMessage] = (),
    ) -> None:
        """Add messages, then batches and excluded rows, to a campaign that is not visible yet."""
        ...

    async def publish_campaign(self, campaign_id: int, totals: PlanTotals) -> None:
        """Make a completely planned campaign visible, in one commit."""
        ...

    async def merge_campaign(
        self, campaign_id: int, into: int, totals: PlanTotals, conduct: Conduct | None = None
    ) -> None:
        """Make what was planned a part of a visible campaign, in one commit. Nothing of its own stays of it.

        `conduct`: what that one is sent under from then on; None: as before.
        Seqs go on behind those of the other campaign, and so do the lists. Raises PlanError where that one was cancelled.
        """
        ...

    async def discard_campaign(self, campaign_id: int) -> None:
        """Remove a campaign that never became visible."""
        ...

    async def find_campaign(
        self, *, name: str | None = None, account: str | None = None, order_key: str | None = None
    ) -> CampaignRecord | None:
        """The visible campaign with this name, or the newest of this account and order key."""
        ...

    async def campaigns(self) -> list[CampaignRecord]:
        """All visible campaigns, oldest first."""
        ...

    async def set_campaign_state(
        self, campaign_id: int, state: CampaignState, reasons: Sequence[PauseReason] = (), detail: str = ""
    ) -> None:
        """Record what the campaign as a whole does now, and why."""
        ...

    async def cancel_campaign(self, campaign_id: int) -> int:
        """Cancel what has not started, for good. Returns how many recipients that were."""
        ...

    async def planned_sizes(self, campaign_id: int) -> list[tuple[int, int, int]]:
        """Seq, size and segments a recipient of every batch that is still planned, in order."""
        ...

    async def planned_kinds(
        self, campaign_id: int, *, up_to: int | None = None, split_after: int | None = None
    ) -> list[Kind]:
        """The planned batches by size and segments; there may be as many as recipients.

        `up_to`, `split_after`: only those that `set_sendable` lets go.
        """
        ...

    async def last_seq(self, campaign_id: int) -> int:
        """The seq of the campaign's last batch, whatever became of it; 0 where it has none."""
        ...

    async def set_sendable(self, campaign_id: int, sendable: int | None, *, split_after: int | None = None) -> None:
        """Set up to which batch the campaign may send; None: all of it.

        `split_after`: what was the last batch when this was decided. What stands behind it are parts of those that may go, and may go
        too, until this is set anew or the journal is closed.
        """
        ...

    async def messages(self, campaign_id: int) -> list[Message]:
        """The campaign's messages; the first has seq 1. There may be as many as recipients."""
        ...

    async def message_count(self, campaign_id: int) -> int:
        """How many messages the campaign has."""
        ...

    async def held_numbers(self, campaign_id: int, *, after: int = 0, limit: int = 2_000) -> list[tuple[int, str]]:
        """Numbers that must not come into the campaign again, comma-joined by batch, with its seq: accepted, planned or in doubt.

        From the batch after the seq `after` on.
        """
        ...

    async def claim_batches(
        self, campaign_id: int, *, limit: int, lease_until_s: float, avoiding: Sequence[int] = ()
    ) -> list[Claim]:
        """Take the right to up to `limit` planned batches, in their order; none of a size in `avoiding`."""
        ...

    async def split_batch(self, claim: Claim, sizes: Sequence[int]) -> list[Claim]:
        """Put batches of these sizes in the place of a claimed one: the same recipients in their order, claimed alike.

        They stand behind the campaign's last batch. Raises ClaimLost when the batch is not this claim's any more.
        """
        ...

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give claims back unsent: the batches are planned again. Claims lost meanwhile are left alone."""
        ...

    async def withdraw(self, claim: Claim, *, at: datetime, reason: str) -> None:
        """Give a claim back of which nothing has left, whether its intent is stored or not. A lost claim is left alone."""
        ...

    async def record_intent(
        self,
        account: str,
        claim: Claim,
        *,
        started_at: datetime,
        omit: Sequence[str] = (),
        scheduled_for: datetime | None = None,
    ) -> Submitted:
        """Make durable what is about to leave, with the time at which the gateway is to send it.

        Raises ClaimLost when the batch is not this claim's any more.
        """
        ...

    async def cancel_emptied(self, claim: Claim) -> None:
        """End a batch of which every number has opted out. Raises ClaimLost when it is not this claim's any more."""
        ...

    async def record_outcome(
        self,
        account: str,
        submitted: Submitted,
        outcome: Outcome,
        *,
        finished_at: datetime,
        then: BatchState,
        charge: Decimal | None = None,
    ) -> None:
        """Store what the attempt came to, move the batch to `then`, and enter the charge, in one transaction.

        `then` is claimed (the same worker tries again), planned, accepted, refused or in_doubt.
        """
        ...

    async def record_reading(
        self, account: str, balance: Balance, *, campaign_id: int | None, asked_at: datetime | None = None
    ) -> None:
        """Enter a balance reading of the account, asked for at `asked_at` and answered at `balance.at`."""
        ...

    async def counts(self, campaign_id: int) -> CampaignCounts:
        """The campaign counted, from one consistent look."""
        ...

    async def readings(self, account: str, *, campaign_id: int | None = None) -> list[Reading]:
        """The account's balance readings in order, from the campaign's first one on, each with the charges since the last."""
        ...

    async def charged_since_reading(self, account: str) -> Decimal:
        """What accepted answers of the account were charged since its last balance reading."""
        ...

    async def starts_since(self, account: str, since: datetime) -> list[tuple[datetime, int]]:
        """When requests of the account left at the latest, as far as that was since then, with their numbers.

        It is what the pace must still count.
        """
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of the journal."""
        ...


# ── how doubts end ───────────────────────────────────────────────────────────────────────────────────────────────────


class SettledBy(StrEnum):
    """Who says what became of a doubt."""

    BALANCE = "balance"
    REPORT = "report"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class StretchAttempt:
    """An attempt that may have been charged, as settlement sees it. `taken`: how its doubt was ended, None: it was not.

    `segments` are those of its text; `charge` and `remaining` (after it) are those of an accepted answer.
    """

    batch_id: int
    number: int
    campaign: str
    seq: int
    size: int
    segments: int
    started_at: datetime
    finished_at: datetime | None  # None: in flight
    outcome: OutcomeKind | None
    may_land_late: bool
    taken: bool | None
    settled_by: SettledBy | None
    task_id: str | None
    charge: Decimal | None
    remaining: Decimal | None
    scheduled: bool = False  # the gateway was to send it at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class StretchReading:
    """A balance reading as settlement sees it."""

    asked_at: datetime
    answered_at: datetime
    remaining: Decimal | None
    send_total: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStretch:
    """What happened on an account since some time, across its campaigns, from one consistent look.

    `due`: the times at which the gateway was to send what it had taken before, as far as that may have been in this time.
    """

    attempts: list[StretchAttempt]
    readings: list[StretchReading]
    due: list[datetime] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDoubt:
    """An attempt in doubt that nothing has settled yet."""

    batch_id: int
    number: int
    campaign_id: int
    campaign: str
    seq: int
    size: int
    started_at: datetime
    gave_up_at: datetime
    may_land_late: bool
    reason: str
    waits_for: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Nameless:
    """An attempt without a task id that a report may belong to: in doubt, in flight, or taken as the balance says."""

    batch_id: int
    number: int
    campaign: str
    seq: int
    mobiles: tuple[str, ...]  # those it carried
    started_at: datetime
    in_flight: bool
    taken: bool  # by evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """How a doubt ends. `charge` in points was made about `charged_at`; both None where it was not taken."""

    batch_id: int
    number: int
    taken: bool
    by: SettledBy
    evidence: str
    at: datetime
    task_id: str | None = None
    charge: Decimal | None = None
    charged_at: datetime | None = None


class SettlingJournal(Protocol):
    """What settlement asks of the journal, and what it leaves there. Every write is durable when its verb returns."""

    async def open_doubts(self, account: str, *, campaign_id: int | None = None) -> list[OpenDoubt]:
        """The doubts nothing has settled yet, oldest first."""
        ...

    async def reading_times(self, account: str) -> list[datetime]:
        """When the account's balance readings were asked for, in order."""
        ...

    async def account_stretch(self, account: str, *, since: datetime, patience: timedelta) -> AccountStretch:
        """Everything that may have changed the balance since then; doubts also from as long before as patience reaches."""
        ...

    async def saw_short_count(self, account: str) -> bool:
        """Whether an answer of this account ever counted fewer numbers than the request held."""
        ...

    async def segments_of(self, batch_id: int) -> int:
        """The segments of the text of a batch."""
        ...

    async def first_emptied(self, account: str, *, since: datetime) -> datetime | None:
        """When the account's report queue was first found empty after that time."""
        ...

    async def nameless(self, account: str) -> list[Nameless]:
        """The attempts without a task id that a report may belong to."""
        ...

    async def settle(self, account: str, settling: Settling) -> bool:
        """End a doubt: its batch is accepted and charged, or planned again (or cancelled with its campaign).

        False: it was not in doubt any more; nothing changed.
        """
        ...

    async def note_waiting(self, waiting: Sequence[tuple[int, int, str]]) -> None:
        """Say of open doubts (batch, number) what they wait for."""
        ...

    async def name_task(self, batch_id: int, number: int, task_id: str, evidence: str) -> bool:
        """A report told the task id of an attempt that the balance, or somebody, had said to be taken."""
        ...


# ── what the gateway tells afterwards ────────────────────────────────────────────────────────────────────────────────


class PollKind(StrEnum):
    """What a poll asks for. Each kind has a URL of its own, and each URL one poller."""

    REPORT = "report"
    REPLY = "reply"


class PollOutcome(StrEnum):
    """What a poll came to."""

    ANSWERED = "answered"  # its body is kept
    LOST = "lost"  # the gateway may have handed out records that nobody has now
    NOT_TAKEN = "not_taken"  # it did not get there, or was turned away: nothing is lost


EVERY_ACCOUNT = "*"
"""In the place of an account: the opt-out is from whatever account of this journal sends."""


class OptOutSource(StrEnum):
    """Where an opt-out comes from."""

    REPLY = "reply"  # the person wrote it
    OPERATOR = "operator"
    IMPORT = "import"  # a list the operator brought


@dataclass(frozen=True, slots=True, kw_only=True)
class PollAnswer:
    """The answer to a poll, as it came. `complete` False: it was cut off."""

    at: datetime
    http_status: int
    charset: str | None
    complete: bool
    body: bytes = field(repr=False)  # numbers and what people wrote


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPoll:
    """A poll whose answer is on the disk. `most` records were asked for, None where the gateway takes no count."""

    poll_id: int
    kind: PollKind
    most: int | None
    answer: PollAnswer


class ReportLine(NamedTuple):
    """One delivery report on its way into the journal. Many: a tuple. `task_id` "": the gateway named none."""

    task_id: str
    mobile: str
    state: ReportState
    received_at: datetime | None
    status: str
    error_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyLine:
    """One reply on its way into the journal. `at_text` is the gateway's time as written, whether it is one or not."""

    mobile: str
    content: str = field(repr=False)
    task_id: str | None
    received_at: datetime | None
    at_text: str
    extno: str
    opts_out: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRecord:
    """A reply as the journal holds it. `campaign` by its task id, else the newest that carried the number; None: neither."""

    mobile: str
    content: str = field(repr=False)
    task_id: str | None
    received_at: datetime | None
    opts_out: bool
    campaign: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    """A person who asked for no more messages. `reason`: their words, or the operator's."""

    mobile: str
    at: datetime
    reason: str
    source: OptOutSource
    everywhere: bool = False  # from every account


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOutHistory:
    """An opt-out of one number, from one account (its key) or, with None, from every one; and its end, where it has one."""

    opt_out: OptOut
    account: str | None
    removed_at: datetime | None
    removed_because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignLists:
    """A campaign and the lists it was planned from, or the queue it grows from."""

    campaign: str
    lists: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptedOut:
    """Opted-out numbers, and the seq of the last opt-out there is."""

    mobiles: list[str]
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Accepted recipients with a final report. `overdue` have none, and none is waited for any more."""

    delivered: int = 0
    undelivered: int = 0
    overdue: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A report whose task id no attempt has: of an earlier sender, of somebody else, or of a batch in doubt.

    `asked_at`: when the poll that brought it was asked.
    """

    task_id: str
    mobile: str
    state: ReportState
    received_at: datetime | None
    asked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PollTally:
    """The polls of an account counted. `may_have_cost`: records that lost and cut answers held at most, where known."""

    made: int = 0
    lost: int = 0  # answers lost or cut
    may_have_cost: int = 0
    unread: int = 0  # kept, and not readable so far


@dataclass(frozen=True, slots=True, kw_only=True)
class PollRead:
    """What an answer held. `said`: the gateway's errors; `problem`: what of it could not be read."""

    at: datetime
    records: int
    said: str = ""
    problem: str = ""
    reports: Sequence[ReportLine] = ()
    replies: Sequence[ReplyLine] = ()
    opts_out_everywhere: bool = False  # who opts out in them, does from every account


class TrackingJournal(Protocol):
    """What must survive of polls, reports, replies and opt-outs. Every verb is durable when it returns."""

    async def begin_poll(self, account: str, kind: PollKind, *, asked_at: datetime, most: int | None) -> int:
        """Note that a poll is about to be asked, and return its id."""
        ...

    async def keep_answer(self, poll_id: int, answer: PollAnswer) -> None:
        """Keep an answer as it came, before anybody reads it."""
        ...

    async def end_poll(self, poll_id: int, outcome: PollOutcome, *, at: datetime, problem: str) -> None:
        """Note that a poll brought no answer, and what that means."""
        ...

    async def apply_poll(self, account: str, poll_id: int, read: PollRead) -> int:
        """The answer has been read: add what it held. Returns how many reports changed something and how many replies were new.

        Of one number in one task the best report stays, whatever their order.
        """
        ...

    async def note_unreadable(self, poll_id: int, problem: str) -> None:
        """The answer could not be read. It stays as it is."""
        ...

    async def kept_polls(
        self, account: str, *, after: int = 0, limit: int = 10, untried: bool = False
    ) -> list[KeptPoll]:
        """Kept answers that were not read, or not wholly, in their order; from the one after the poll `after` on.

        `untried`: only those that nobody has tried to read.
        """
        ...

    async def opted_out_among(self, mobiles: Sequence[str], account: str) -> set[str]:
        """Those of the numbers that are opted out from the account; for every account: from any."""
        ...

    async def opted_out(self, account: str, *, since: int = 0) -> OptedOut:
        """The numbers that opted out after the opt-out with the seq `since`, and have not been removed."""
        ...
