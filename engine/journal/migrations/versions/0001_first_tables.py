"""The first tables: owner, campaigns with their sources, messages, excluded rows and batches, attempts, ledger entries.

A migration never changes again, so it spells everything out: it imports neither the schema nor the words of the model.
Times are whole microseconds since 1970 UTC, points whole ten-thousandths: both BigInteger.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables in the order of their references."""
    _owner()
    _campaign()
    _source()
    _message()
    _exclusion()
    _batch()
    _attempt()
    _entry()


def _owner() -> None:
    op.create_table(
        "owner",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="ck_owner_single"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _campaign() -> None:
    op.create_table(
        "campaign",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("profile", sa.Text, nullable=False),
        sa.Column("order_key", sa.Text, nullable=False),
        sa.Column("plan_hash", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reasons", sa.Text, nullable=False, server_default="[]"),
        sa.Column("detail", sa.Text, nullable=False, server_default=""),
        sa.Column("rows", sa.Integer, nullable=False, server_default="0"),
        sa.Column("extra", sa.Integer, nullable=False, server_default="0"),
        sa.Column("recipients", sa.Integer, nullable=False, server_default="0"),
        sa.Column("estimated", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("sendable", sa.Integer),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.CheckConstraint("state IN ('planning', 'planned', 'running', 'paused', 'cancelled')", name="ck_state_word"),
        sa.CheckConstraint("rows >= 0 AND extra >= 0 AND recipients >= 0", name="ck_campaign_counts"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_index("ix_campaign_order", "campaign", ["account", "order_key"])


def _source() -> None:
    op.create_table(
        "source",
        sa.Column("campaign_id", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("encoding", sa.Text, nullable=False),
        sa.Column("number_column", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "seq"),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], ondelete="CASCADE"),
    )


def _message() -> None:
    op.create_table(
        "message",
        sa.Column("campaign_id", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("units", sa.Integer, nullable=False),
        sa.Column("segments", sa.Integer, nullable=False),
        sa.CheckConstraint("segments >= 1 AND units >= 1", name="ck_message_counts"),
        sa.PrimaryKeyConstraint("campaign_id", "seq"),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], ondelete="CASCADE"),
    )


def _exclusion() -> None:
    op.create_table(
        "exclusion",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("campaign_id", sa.Integer, nullable=False),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("raw", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.CheckConstraint(
            "reason IN ('invalid', 'duplicate', 'opted_out', 'empty', 'landline', 'foreign', 'iot', 'digits_lost', "
            "'malformed')",
            name="ck_reason_word",
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_exclusion_campaign", "exclusion", ["campaign_id", "reason"])


def _batch() -> None:
    op.create_table(
        "batch",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("campaign_id", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("message_seq", sa.Integer, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("epoch", sa.Integer),
        sa.Column("lease_until_s", sa.Float),
        sa.Column("reason", sa.Text),
        sa.Column("mobiles", sa.Text, nullable=False),
        sa.Column("lines", sa.Text, nullable=False),
        sa.CheckConstraint(
            "state IN ('planned', 'claimed', 'submitting', 'accepted', 'refused', 'in_doubt', 'cancelled', 'expired', "
            "'split')",
            name="ck_state_word",
        ),
        sa.CheckConstraint("size >= 1 AND attempts >= 0", name="ck_batch_counts"),
        sa.CheckConstraint("(state IN ('claimed', 'submitting')) = (owner IS NOT NULL)", name="ck_batch_owner"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("campaign_id", "seq"),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["campaign_id", "message_seq"], ["message.campaign_id", "message.seq"]),
    )
    op.create_index("ix_batch_state", "batch", ["campaign_id", "state", "seq", "size"])


def _attempt() -> None:
    op.create_table(
        "attempt",
        sa.Column("batch_id", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("campaign_id", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("omitted", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("outcome", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("refusal", sa.Text),
        sa.Column("task_id", sa.Text),
        sa.Column("success_counts", sa.Integer),
        sa.Column("http_status", sa.Integer),
        sa.Column("raw", sa.Text),
        sa.Column("evidence", sa.Text),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN ('accepted', 'refused', 'not_sent', 'not_taken', 'in_doubt')",
            name="ck_outcome_word",
        ),
        sa.CheckConstraint("number >= 1 AND size >= 1", name="ck_attempt_counts"),
        sa.CheckConstraint("(outcome IS NULL) = (finished_at IS NULL)", name="ck_attempt_finished"),
        sa.CheckConstraint("outcome IS NULL OR outcome != 'accepted' OR task_id IS NOT NULL", name="ck_attempt_task"),
        sa.CheckConstraint("evidence IS NULL OR outcome = 'in_doubt'", name="ck_attempt_evidence"),
        sa.PrimaryKeyConstraint("batch_id", "number"),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_attempt_campaign", "attempt", ["campaign_id", "outcome"])
    op.create_index("ix_attempt_started", "attempt", ["account", "started_at"])
    op.create_index("ix_attempt_task", "attempt", ["task_id"])


def _entry() -> None:
    op.create_table(
        "entry",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("campaign_id", sa.Integer),
        sa.Column("batch_id", sa.Integer),
        sa.Column("attempt_number", sa.Integer),
        sa.Column("points", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("remaining", sa.BigInteger),
        sa.Column("send_total", sa.BigInteger),
        sa.Column("raw", sa.Text),
        sa.CheckConstraint("kind IN ('reading', 'charge')", name="ck_kind_word"),
        sa.CheckConstraint("points >= 0", name="ck_entry_points"),
        sa.CheckConstraint("(kind = 'charge') = (batch_id IS NOT NULL)", name="ck_entry_charge"),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"]),
        sa.UniqueConstraint("batch_id", "attempt_number"),
        sa.ForeignKeyConstraint(["batch_id", "attempt_number"], ["attempt.batch_id", "attempt.number"]),
    )
    op.create_index("ix_entry_account", "entry", ["account", "id"])
    op.create_index("ix_entry_campaign", "entry", ["campaign_id", "kind"])
