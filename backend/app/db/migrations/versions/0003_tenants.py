"""Whose conversations they are (an API key's), and which write stored a message.

Rows that are there belong to no tenant: see docs/operations.md. `nonce` tells a write that is repeated
whether the first one went through. Columns with constant defaults: no table is written anew.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("conversations", "requests"):
        op.add_column(table, sa.Column("tenant", sa.Text, nullable=False, server_default=""))
    op.add_column("messages", sa.Column("nonce", postgresql.UUID(as_uuid=True)))
    op.drop_constraint("pk_requests", "requests", type_="primary")
    op.create_primary_key("pk_requests", "requests", ["tenant", "user_id", "idempotency_key"])
    op.create_index("ix_requests_created_at", "requests", ["created_at"])


def downgrade() -> None:
    """Everybody sees every tenant's rows again. Of equal keys of two tenants the newest is remembered."""
    op.drop_index("ix_requests_created_at", "requests")
    op.execute(
        "DELETE FROM requests r USING requests newer WHERE r.user_id = newer.user_id "
        "AND r.idempotency_key = newer.idempotency_key "
        "AND (r.created_at, r.tenant) < (newer.created_at, newer.tenant)"
    )
    op.drop_constraint("pk_requests", "requests", type_="primary")
    op.create_primary_key("pk_requests", "requests", ["user_id", "idempotency_key"])
    op.drop_column("messages", "nonce")
    for table in ("conversations", "requests"):
        op.drop_column(table, "tenant")
