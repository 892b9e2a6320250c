"""An index of the reports that say "undelivered": who was not reached is asked for campaigns of millions.

It imports neither the schema nor the words of the model.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only the few reports that say so are in it, so the many others cost nothing more."""
    op.create_index(
        "ix_report_undelivered",
        "report",
        ["account", "task_id", "mobile"],
        sqlite_where=sa.text("state = 'undelivered'"),
    )
