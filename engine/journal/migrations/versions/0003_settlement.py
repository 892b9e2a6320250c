"""Settlement: who ended a doubt and when, what an open one waits for; when a balance was asked for; the clock of the last owner.

It imports neither the schema nor the words of the model. Times are whole microseconds since 1970 UTC: BigInteger.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and order the ledger by time: a charge may become known long after it was made."""
    op.add_column("attempt", sa.Column("may_land_late", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("attempt", sa.Column("settled_by", sa.Text))
    op.add_column("attempt", sa.Column("settled_at", sa.BigInteger))
    op.add_column("attempt", sa.Column("waits_for", sa.Text))
    op.add_column("entry", sa.Column("asked_at", sa.BigInteger))
    op.add_column("owner", sa.Column("boot_id", sa.Text, nullable=False, server_default=""))
    op.add_column("owner", sa.Column("booted_at", sa.BigInteger))
    op.drop_index("ix_entry_account", "entry")
    op.create_index("ix_entry_account", "entry", ["account", "at"])
