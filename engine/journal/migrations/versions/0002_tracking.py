"""Tracking: polls with their raw answers, reports, replies, opt-outs; what of a batch was left out for an opt-out.

It imports neither the schema nor the words of the model. Times are whole microseconds since 1970 UTC: BigInteger.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, then create the tables in the order of their references."""
    op.add_column("campaign", sa.Column("screened", sa.Integer, nullable=False, server_default="0"))
    op.add_column("batch", sa.Column("omitted", sa.Integer, nullable=False, server_default="0"))
    _poll()
    _report()
    _reply()
    _opt_out()


def _poll() -> None:
    op.create_table(
        "poll",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("most", sa.Integer),
        sa.Column("answered_at", sa.BigInteger),
        sa.Column("outcome", sa.Text),
        sa.Column("http_status", sa.Integer),
        sa.Column("charset", sa.Text),
        sa.Column("complete", sa.Boolean),
        sa.Column("body", sa.LargeBinary),
        sa.Column("applied_at", sa.BigInteger),
        sa.Column("records", sa.Integer),
        sa.Column("said", sa.Text, nullable=False, server_default=""),
        sa.Column("problem", sa.Text, nullable=False, server_default=""),
        sa.CheckConstraint("kind IN ('report', 'reply')", name="ck_kind_word"),
        sa.CheckConstraint("outcome IS NULL OR outcome IN ('answered', 'lost', 'not_taken')", name="ck_outcome_word"),
        sa.CheckConstraint("(outcome IS NULL) = (answered_at IS NULL)", name="ck_poll_answered"),
        sa.CheckConstraint("(COALESCE(outcome, '') = 'answered') = (body IS NOT NULL)", name="ck_poll_body"),
        sa.CheckConstraint("(applied_at IS NULL) = (records IS NULL)", name="ck_poll_applied"),
        sa.CheckConstraint("applied_at IS NULL OR body IS NOT NULL", name="ck_poll_kept"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_poll_account", "poll", ["account", "kind", "asked_at"])


def _report() -> None:
    op.create_table(
        "report",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("mobile", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("received_at", sa.BigInteger),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("error_code", sa.Text, nullable=False),
        sa.Column("poll_id", sa.Integer, nullable=False),
        sa.CheckConstraint("state IN ('delivered', 'undelivered', 'interim', 'unknown')", name="ck_state_word"),
        sa.PrimaryKeyConstraint("account", "task_id", "mobile"),
        sa.ForeignKeyConstraint(["poll_id"], ["poll.id"]),
        sqlite_with_rowid=False,
    )


def _reply() -> None:
    op.create_table(
        "reply",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("mobile", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text),
        sa.Column("received_at", sa.BigInteger),
        sa.Column("extno", sa.Text, nullable=False),
        sa.Column("opts_out", sa.Boolean, nullable=False),
        sa.Column("poll_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account", "digest"),
        sa.ForeignKeyConstraint(["poll_id"], ["poll.id"]),
    )


def _opt_out() -> None:
    op.create_table(
        "opt_out",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("mobile", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("removed_at", sa.BigInteger),
        sa.CheckConstraint("source IN ('reply', 'operator', 'import')", name="ck_source_word"),
        sa.PrimaryKeyConstraint("account", "mobile"),
    )
    op.create_index("ix_opt_out_seq", "opt_out", ["account", "seq"])
