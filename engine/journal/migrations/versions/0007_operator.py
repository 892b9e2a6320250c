"""What the operator decided of a campaign: when it may send, how many points stay, and who goes first.

It imports neither the schema nor the words of the model. Times are whole microseconds since 1970 UTC: BigInteger.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Campaigns of before may send at any time, and have no canary."""
    op.add_column("campaign", sa.Column("not_before", sa.BigInteger))
    op.add_column("campaign", sa.Column("expires_at", sa.BigInteger))
    op.add_column("campaign", sa.Column("windows", sa.Text, nullable=False, server_default="[]"))
    op.add_column("campaign", sa.Column("zone", sa.Text, nullable=False, server_default=""))
    op.add_column("campaign", sa.Column("keep_points", sa.BigInteger))
    op.add_column("campaign", sa.Column("canary", sa.Integer, nullable=False, server_default="0"))
    op.add_column("campaign", sa.Column("canary_delivered", sa.Float, nullable=False, server_default="0"))
    op.add_column("campaign", sa.Column("canary_wait_s", sa.Float, nullable=False, server_default="0"))
    op.add_column("campaign", sa.Column("canary_seq", sa.Integer))
    op.add_column("campaign", sa.Column("canary_passed", sa.Boolean, nullable=False, server_default=sa.false()))
