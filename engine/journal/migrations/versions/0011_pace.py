"""The pace that was given for a campaign stays with it.

It imports neither the schema nor the words of the model.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Campaigns of before go at the pace of the settings: NULL."""
    op.add_column("campaign", sa.Column("requests_per_second", sa.Float))
    op.add_column("campaign", sa.Column("numbers_per_second", sa.Float))
    op.add_column("campaign", sa.Column("in_flight", sa.Integer))
