"""Results: how a list was read, so that it can be read again; what is left of a campaign that was forgotten; replies by number.

It imports neither the schema nor the words of the model. Times are whole microseconds since 1970 UTC: BigInteger.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the index. Of lists planned before, the place of their numbers is found out by its name."""
    op.add_column("source", sa.Column("inside", sa.Text, nullable=False, server_default=""))
    op.add_column("source", sa.Column("column_at", sa.Integer))
    op.add_column("source", sa.Column("first_line", sa.Integer))
    op.add_column("campaign", sa.Column("forgotten_at", sa.BigInteger))
    op.add_column("campaign", sa.Column("delivered", sa.Integer, nullable=False, server_default="0"))
    op.add_column("campaign", sa.Column("undelivered", sa.Integer, nullable=False, server_default="0"))
    op.create_index("ix_reply_mobile", "reply", ["account", "mobile"])
