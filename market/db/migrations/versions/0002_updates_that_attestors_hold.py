"""Updates that attestors hold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    # Before it there were no receipts: of the updates that are here already attestors hold none.
    held: sa.Column[bool] = sa.Column("held", sa.Boolean(), nullable=False, server_default=sa.false())
    op.add_column("updates", held)


def downgrade() -> None:
    """Back to the version before."""
    op.drop_column("updates", "held")
