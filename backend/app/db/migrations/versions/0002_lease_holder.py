"""Who holds the lease on an idempotency key. Null: nobody, or a replica of the release before.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("requests", sa.Column("holder", postgresql.UUID(as_uuid=True)))


def downgrade() -> None:
    op.drop_column("requests", "holder")
