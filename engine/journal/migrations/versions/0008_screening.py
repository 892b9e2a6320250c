"""Screening: two more words for why a row was left out, who was reached when, and why an opt-out was taken back.

It imports neither the schema nor the words of the model. Times are whole microseconds since 1970 UTC: BigInteger.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_REASONS = (
    "'invalid', 'duplicate', 'opted_out', 'empty', 'landline', 'foreign', 'iot', 'digits_lost', "
    "'excluded_list', 'not_on_list', 'malformed', 'placeholder', 'unsendable', 'too_long', 'forbidden_value', 'too_often'"
)


def upgrade() -> None:
    """Who was reached is derived from the batches: what is missing is made again when somebody asks."""
    with op.batch_alter_table("exclusion") as exclusion:
        exclusion.drop_constraint("ck_reason_word", type_="check")
        exclusion.create_check_constraint("ck_reason_word", f"reason IN ({_REASONS})")
    op.create_table(
        "reached",
        sa.Column("campaign_id", sa.Integer, nullable=False),
        sa.Column("hour", sa.Integer, nullable=False),
        sa.Column("recipients", sa.Integer, nullable=False),
        sa.Column("numbers", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "hour"),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"], ondelete="CASCADE"),
    )
    op.add_column("opt_out", sa.Column("removed_because", sa.Text, nullable=False, server_default=""))
