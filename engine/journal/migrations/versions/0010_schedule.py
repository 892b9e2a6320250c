"""When the gateway is to send what it is handed: what a campaign asks for, and what each attempt carried.

It imports neither the schema nor the words of the model. Times are whole microseconds since 1970 UTC: BigInteger.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Everything of before was sent at once."""
    op.add_column("campaign", sa.Column("scheduled_for", sa.BigInteger))
    op.add_column("attempt", sa.Column("scheduled_for", sa.BigInteger))
    op.create_index(
        "ix_attempt_scheduled",
        "attempt",
        ["account", "scheduled_for"],
        sqlite_where=sa.text("scheduled_for IS NOT NULL"),
    )
