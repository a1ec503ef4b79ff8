"""Messages that their user took back, to ask again. They stand empty in their place.

A column with a constant default: no table is written anew. A replica of the release before shows such
messages as empty ones.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("messages", sa.Column("taken_back", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.execute("DELETE FROM messages WHERE taken_back")
    op.drop_column("messages", "taken_back")
