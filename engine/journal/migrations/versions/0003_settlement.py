"""Settlement: who ended a doubt and when, what an open one waits for; when a balance was asked for; the last owner's clock.

Two more words for why a row was left out: lists of people to leave out, and of people to send to alone.

It imports neither the schema nor the words of the model. Times are whole microseconds since 1970 UTC: BigInteger.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_REASONS = (
    "'invalid', 'duplicate', 'opted_out', 'empty', 'landline', 'foreign', 'iot', 'digits_lost', "
    "'excluded_list', 'not_on_list', 'malformed'"
)


def upgrade() -> None:
    """Add the columns, and order the ledger by time: a charge may become known long after it was made."""
    op.add_column("attempt", sa.Column("may_land_late", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("attempt", sa.Column("settled_by", sa.Text))
    op.add_column("attempt", sa.Column("settled_at", sa.BigInteger))
    op.add_column("attempt", sa.Column("waits_for", sa.Text))
    op.add_column("entry", sa.Column("asked_at", sa.BigInteger))
    op.add_column("owner", sa.Column("boot_id", sa.Text, nullable=False, server_default=""))
    op.add_column("owner", sa.Column("booted_at", sa.BigInteger))
    with op.batch_alter_table("exclusion") as exclusion:
        exclusion.drop_constraint("ck_reason_word", type_="check")
        exclusion.create_check_constraint("ck_reason_word", f"reason IN ({_REASONS})")
    op.drop_index("ix_entry_account", "entry")
    op.create_index("ix_entry_account", "entry", ["account", "at"])
