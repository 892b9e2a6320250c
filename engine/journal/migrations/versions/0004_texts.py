"""Texts: how a campaign tells its rows, and three more words for why a row was left out.

It imports neither the schema nor the words of the model. Times are whole microseconds since 1970 UTC: BigInteger.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_REASONS = (
    "'invalid', 'duplicate', 'opted_out', 'empty', 'landline', 'foreign', 'iot', 'digits_lost', "
    "'excluded_list', 'not_on_list', 'malformed', 'placeholder', 'unsendable', 'too_long'"
)


def upgrade() -> None:
    """Campaigns of before have one message, which their empty wording says."""
    op.add_column("campaign", sa.Column("wording", sa.Text, nullable=False, server_default=""))
    with op.batch_alter_table("exclusion") as exclusion:
        exclusion.drop_constraint("ck_reason_word", type_="check")
        exclusion.create_check_constraint("ck_reason_word", f"reason IN ({_REASONS})")
