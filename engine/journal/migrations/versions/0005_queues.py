"""Queues: campaigns that grow from one, and what is remembered of its messages.

It imports neither the schema nor the words of the model. Times are whole microseconds since 1970 UTC: BigInteger.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Campaigns of before were planned from lists: their queue_id is NULL."""
    op.add_column("campaign", sa.Column("queue_id", sa.Integer))
    op.create_table(
        "queue",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
    )
    op.create_table(
        "notice",
        sa.Column("queue_id", sa.Integer, sa.ForeignKey("queue.id"), primary_key=True),
        sa.Column("notice_id", sa.Text, primary_key=True),
        sa.Column("number", sa.Text, primary_key=True),
        sa.Column("campaign_id", sa.Integer, sa.ForeignKey("campaign.id", ondelete="CASCADE"), nullable=False),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("told", sa.Text),
        sa.UniqueConstraint("campaign_id", "line"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_notice_untold",
        "notice",
        ["campaign_id", "line"],
        sqlite_where=sa.text("told IS NULL OR told = 'in_doubt'"),
    )
