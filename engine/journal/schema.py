"""The tables. What the database can hold (CHECK, UNIQUE) is here, not in code.

A batch row holds its recipients as the comma-joined text that goes on the wire, plus their line numbers in a compact
form: a million recipients at 100 a batch are 10,000 rows. Per recipient are only the excluded rows and what the gateway
tells about single numbers: reports, replies, opt-outs.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.types import TypeDecorator

from engine.gateway.polls import ReportState
from engine.journal.port import OptOutSource, PollKind, PollOutcome
from engine.model import BatchState, Exclusion, OutcomeKind

HEAD = "0012"
"""The newest migration. A fresh journal is created at it in one step; a test proves that both ways meet."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_POINT = Decimal("0.0001")


def microseconds(at: datetime) -> int:
    """A time as the database holds it: whole microseconds since 1970 UTC."""
    return (at - _EPOCH) // _MICROSECOND


def ten_thousandths(points: Decimal) -> int:
    """Points as the database holds them."""
    return int((points / _POINT).to_integral_value())


class Timestamp(TypeDecorator[datetime]):
    """An aware datetime, stored as whole microseconds since 1970 UTC: sorts, and survives both databases unchanged."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else microseconds(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + value * _MICROSECOND


class Points(TypeDecorator[Decimal]):
    """Points as a Decimal, stored as whole ten-thousandths so that the database can add them up exactly."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        return None if value is None else ten_thousandths(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else (Decimal(int(value)) * _POINT).normalize() + 0


def _one_of(column: str, words: list[str], *, nullable: bool = False) -> CheckConstraint:
    # Word by word: for IN, SQLite fills a table with the words anew for every row, and a row takes up to three times as long.
    allowed = [f"{column} IS NULL"] * nullable + [f"{column} = '{word}'" for word in words]
    return CheckConstraint(" OR ".join(allowed), name=f"ck_{column}_word")


metadata = MetaData()

owner = Table(
    "owner",
    metadata,
    # One row: who may write. The epoch grows with every owner, so that a claim of an earlier one is recognised.
    Column("id", Integer, CheckConstraint("id = 1", name="ck_owner_single"), primary_key=True),
    Column("name", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("since", Timestamp, nullable=False),
    # The clock of this owner: which boot of the machine, and when that was on its clock. The next one goes on with it.
    Column("boot_id", Text, nullable=False, server_default=""),
    Column("booted_at", Timestamp),
)

campaign = Table(
    "campaign",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("account", Text, nullable=False),  # the account's key, a hash: the journal holds no credentials
    Column("profile", Text, nullable=False),
    Column("order_key", Text, nullable=False),
    Column("plan_hash", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reasons", Text, nullable=False, server_default="[]"),  # JSON list of PauseReason
    Column("detail", Text, nullable=False, server_default=""),  # the last pause in a sentence
    Column("rows", Integer, nullable=False, server_default="0"),
    Column("extra", Integer, nullable=False, server_default="0"),
    Column("recipients", Integer, nullable=False, server_default="0"),
    Column("estimated", Points, nullable=False, server_default="0"),
    Column("sendable", Integer),  # with --allow-partial: only batches up to this seq may go; NULL = all
    Column("created_at", Timestamp, nullable=False),
    Column("screened", Integer, nullable=False, server_default="0"),  # the last opt-out (its seq) that planning knew
    Column("queue_id", Integer),  # the queue it grows from; NULL: it was planned from lists
    Column("wording", Text, nullable=False, server_default=""),  # JSON: how rows are told; "": by the one message
    # Once its numbers and texts are forgotten, its reports are gone too: what they came to is kept here.
    Column("forgotten_at", Timestamp),
    Column("delivered", Integer, nullable=False, server_default="0"),
    Column("undelivered", Integer, nullable=False, server_default="0"),
    # What the operator decided: when it may send, how many points stay, who goes first.
    Column("not_before", Timestamp),
    Column("expires_at", Timestamp),
    Column(
        "scheduled_for", Timestamp
    ),  # handed over with this time, at which the gateway sends; NULL: it sends at once
    Column("windows", Text, nullable=False, server_default="[]"),  # JSON list, as they were written
    Column("zone", Text, nullable=False, server_default=""),
    Column("keep_points", Points),  # NULL: as the settings say
    Column("canary", Integer, nullable=False, server_default="0"),  # recipients; 0: none
    Column("canary_delivered", Float, nullable=False, server_default="0"),  # the share that must be, 0 to 1
    Column("canary_wait_s", Float, nullable=False, server_default="0"),
    Column("canary_seq", Integer),  # its last batch; NULL: not chosen yet
    Column("canary_passed", Boolean, nullable=False, server_default=false()),
    Column("requests_per_second", Float),  # NULL: as the settings say; so are the next two
    Column("numbers_per_second", Float),
    Column("in_flight", Integer),
    # "planning" is a campaign nobody sees yet: what a killed planning left is discarded at the next start.
    _one_of("state", ["planning", "planned", "running", "paused", "cancelled"]),
    CheckConstraint("rows >= 0 AND extra >= 0 AND recipients >= 0", name="ck_campaign_counts"),
    Index("ix_campaign_order", "account", "order_key"),
)

queue = Table(
    "queue",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),  # its address, without user and options
)

notice = Table(
    "notice",
    metadata,
    # What is remembered of a queue: who was in which message. The key is the unit of once. `number` is the mobile, or what was
    # written where that is none; `line` counts the rows of the campaign, and the batches name their rows by it.
    Column("queue_id", ForeignKey("queue.id"), primary_key=True),
    Column("notice_id", Text, primary_key=True),
    Column("number", Text, primary_key=True),
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), nullable=False),
    Column("line", Integer, nullable=False),
    Column("told", Text),  # the state somebody was told of last; "-": nobody wants to know; NULL: of none yet
    UniqueConstraint("campaign_id", "line"),
    Index("ix_notice_untold", "campaign_id", "line", sqlite_where=text("told IS NULL OR told = 'in_doubt'")),
    sqlite_with_rowid=False,
)

source = Table(
    "source",
    metadata,
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("path", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("encoding", Text, nullable=False),
    Column("number_column", Text, nullable=False),
    # How it was read, so that it can be read again in the same way. NULL: planned before this was kept.
    Column("inside", Text, nullable=False, server_default=""),  # the archive's member or the workbook's sheet
    Column("column_at", Integer),  # of the numbers, from 0
    Column("first_line", Integer),  # where its data begins
)

message = Table(
    "message",
    metadata,
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("content", Text, nullable=False),
    Column("units", Integer, nullable=False),
    Column("segments", Integer, nullable=False),
    CheckConstraint("segments >= 1 AND units >= 1", name="ck_message_counts"),
)

exclusion = Table(
    "exclusion",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), nullable=False),
    Column("line", Integer, nullable=False),
    Column("raw", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    _one_of("reason", list(Exclusion)),
    Index("ix_exclusion_campaign", "campaign_id", "reason"),
)

batch = Table(
    "batch",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("message_seq", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("owner", Text),
    Column("epoch", Integer),
    Column("lease_until_s", Float),  # on the clock of the owner's machine that counts suspend
    Column("reason", Text),  # why it is refused or in doubt, in words
    Column("mobiles", Text, nullable=False),
    Column("lines", Text, nullable=False),
    Column("omitted", Integer, nullable=False, server_default="0"),  # numbers left out of the last attempt: opted out
    _one_of("state", list(BatchState)),
    CheckConstraint("size >= 1 AND attempts >= 0", name="ck_batch_counts"),
    CheckConstraint("(state IN ('claimed', 'submitting')) = (owner IS NOT NULL)", name="ck_batch_owner"),
    UniqueConstraint("campaign_id", "seq"),
    ForeignKeyConstraint(["campaign_id", "message_seq"], ["message.campaign_id", "message.seq"]),
    Index("ix_batch_state", "campaign_id", "state", "seq", "size"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("batch_id", ForeignKey("batch.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),  # counts from 1 for each batch
    Column("account", Text, nullable=False),
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("size", Integer, nullable=False),  # numbers carried: the batch's less the omitted
    Column("omitted", Text, nullable=False),  # numbers of the batch this attempt left out, comma-joined
    Column("started_at", Timestamp, nullable=False),
    Column("finished_at", Timestamp),
    Column("scheduled_for", Timestamp),  # the time it carried, at which the gateway sends; NULL: it sends at once
    Column("outcome", Text),  # NULL: no outcome yet
    Column("reason", Text),
    Column("refusal", Text),
    Column("task_id", Text),
    Column("success_counts", Integer),
    Column("http_status", Integer),
    Column("raw", Text),  # the answer, where it is not a plain acceptance
    Column("evidence", Text),  # of a doubt that ended: "taken: …" or "not taken: …"
    Column("may_land_late", Boolean, nullable=False, server_default=true()),  # of a doubt: after we gave it up
    Column("settled_by", Text),  # of a doubt that ended: balance, report, operator
    Column("settled_at", Timestamp),
    Column("waits_for", Text),  # of an open doubt: what is known, and what is missing
    _one_of("outcome", list(OutcomeKind), nullable=True),
    CheckConstraint("number >= 1 AND size >= 1", name="ck_attempt_counts"),
    CheckConstraint("(outcome IS NULL) = (finished_at IS NULL)", name="ck_attempt_finished"),
    CheckConstraint("outcome IS NULL OR outcome != 'accepted' OR task_id IS NOT NULL", name="ck_attempt_task"),
    CheckConstraint("evidence IS NULL OR outcome = 'in_doubt'", name="ck_attempt_evidence"),
    Index("ix_attempt_campaign", "campaign_id", "outcome"),
    Index("ix_attempt_started", "account", "started_at"),
    Index("ix_attempt_scheduled", "account", "scheduled_for", sqlite_where=text("scheduled_for IS NOT NULL")),
    Index("ix_attempt_task", "task_id"),
)

reached = Table(
    "reached",
    metadata,
    # Derived from attempts and batches, so that a list of a million is compared with ten millions in a moment. Made again where
    # it is missing, or where the campaign has more recipients by now. Only kept of campaigns that are over.
    Column("campaign_id", ForeignKey("campaign.id", ondelete="CASCADE"), primary_key=True),
    Column("hour", Integer, primary_key=True),  # since 1970 UTC, in which the attempts began
    # That the campaign had then. Of hour 0, where nobody is, also a mark below 0: the sets are not whole yet.
    Column("recipients", Integer, nullable=False),
    Column("numbers", LargeBinary, nullable=False),  # a packed set; see intake/seen.py
)

entry = Table(
    "entry",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account", Text, nullable=False),
    Column("at", Timestamp, nullable=False),
    Column("kind", Text, nullable=False),
    Column("campaign_id", ForeignKey("campaign.id")),
    Column("batch_id", Integer),
    Column("attempt_number", Integer),
    Column("points", Points, nullable=False, server_default="0"),  # a charge, or 0 for a reading
    Column("remaining", Points),  # points left: after the charge as the answer says, or as read
    Column("send_total", Points),  # all points ever bought, where a reading tells it
    Column("raw", Text),
    Column("asked_at", Timestamp),  # of a reading: its answer came at `at`
    _one_of("kind", ["reading", "charge"]),
    CheckConstraint("points >= 0", name="ck_entry_points"),
    CheckConstraint("(kind = 'charge') = (batch_id IS NOT NULL)", name="ck_entry_charge"),
    UniqueConstraint("batch_id", "attempt_number"),  # an attempt is charged once
    ForeignKeyConstraint(["batch_id", "attempt_number"], ["attempt.batch_id", "attempt.number"]),
    Index("ix_entry_account", "account", "at"),
    Index("ix_entry_campaign", "campaign_id", "kind"),
)

poll = Table(
    "poll",
    metadata,
    # Written before the question is asked, and with the answer before that is read: the gateway tells everything once.
    Column("id", Integer, primary_key=True),
    Column("account", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("asked_at", Timestamp, nullable=False),
    Column("most", Integer),  # records asked for, which a lost answer may have cost; NULL: the gateway takes no count
    Column("answered_at", Timestamp),
    Column("outcome", Text),  # NULL: under way
    Column("http_status", Integer),
    Column("charset", Text),
    Column("complete", Boolean),
    Column("body", LargeBinary),  # as it came, zlib-compressed
    Column("applied_at", Timestamp),  # NULL: not read yet, or not readable
    Column("records", Integer),
    Column("said", Text, nullable=False, server_default=""),  # the errors it names, beside records or not
    Column("problem", Text, nullable=False, server_default=""),  # why it was lost, or what of it could not be read
    _one_of("kind", list(PollKind)),
    _one_of("outcome", list(PollOutcome), nullable=True),
    CheckConstraint("(outcome IS NULL) = (answered_at IS NULL)", name="ck_poll_answered"),
    CheckConstraint("(COALESCE(outcome, '') = 'answered') = (body IS NOT NULL)", name="ck_poll_body"),
    CheckConstraint("(applied_at IS NULL) = (records IS NULL)", name="ck_poll_applied"),
    CheckConstraint("applied_at IS NULL OR body IS NOT NULL", name="ck_poll_kept"),
    Index("ix_poll_account", "account", "kind", "asked_at"),
)

report = Table(
    "report",
    metadata,
    # What stands here is the best report of its key, by a rule that knows no order of arrival. A task id that no attempt
    # has (yet) is kept like any other: reports and attempts are joined when somebody looks.
    Column("account", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),  # "": the gateway named none
    Column("mobile", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("received_at", Timestamp),  # the gateway's time, where it was one
    Column("status", Text, nullable=False),
    Column("error_code", Text, nullable=False),
    Column("poll_id", ForeignKey("poll.id"), nullable=False),
    _one_of("state", list(ReportState)),
    # Only those that say it, so that they are found among millions of others: see journal/reached.py.
    Index("ix_report_undelivered", "account", "task_id", "mobile", sqlite_where=text("state = 'undelivered'")),
    sqlite_with_rowid=False,
)

reply = Table(
    "reply",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account", Text, nullable=False),
    Column("digest", Text, nullable=False),  # of everything the gateway said of it: told twice, it is one reply
    Column("mobile", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("task_id", Text),
    Column("received_at", Timestamp),
    Column("extno", Text, nullable=False),
    Column("opts_out", Boolean, nullable=False),
    Column("poll_id", ForeignKey("poll.id"), nullable=False),
    UniqueConstraint("account", "digest"),
    Index("ix_reply_mobile", "account", "mobile"),
)

opt_out = Table(
    "opt_out",
    metadata,
    Column("account", Text, primary_key=True),
    Column("mobile", Text, primary_key=True),
    Column("seq", Integer, nullable=False),  # grows with every opt-out, also one that comes again after a removal
    Column("at", Timestamp, nullable=False),
    Column("reason", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("removed_at", Timestamp),  # the row stays: who opts out after a removal is a new opt-out
    Column("removed_because", Text, nullable=False, server_default=""),
    _one_of("source", list(OptOutSource)),
    Index("ix_opt_out_seq", "account", "seq"),
)
