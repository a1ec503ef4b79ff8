"""Conversations, their messages, idempotent requests and timings.

Revision ID: 0001
"""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STAGES = ("cache", "store", "queue", "load", "prefill", "decode")


def _created() -> sa.Column[datetime]:
    return sa.Column(
        "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")
    )


def _conversation(table: str) -> sa.Column[UUID]:
    return sa.Column(
        "conversation_id",
        postgresql.UUID(as_uuid=True),
        sa.ForeignKey("conversations.id", ondelete="CASCADE", name=f"fk_{table}_conversation_id"),
        nullable=False,
    )


def upgrade() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        _created(),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
    )
    op.create_index("ix_conversations_user_id", "conversations", ["user_id"])
    op.create_table(
        "messages",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        _conversation("messages"),
        sa.Column("previous_id", sa.BigInteger),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("kind", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("finish_reason", sa.Text),
        sa.Column("ttft_ms", sa.Float),
        sa.Column("total_ms", sa.Float),
        sa.Column("output_tokens", sa.Integer),
        _created(),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sa.UniqueConstraint("conversation_id", "previous_id", name="uq_messages_conversation_id_previous_id"),
        sa.CheckConstraint("role IN ('user', 'assistant')", name="ck_messages_role"),
    )
    op.create_index("ix_messages_conversation_id_id", "messages", ["conversation_id", "id"])
    op.create_table(
        "requests",
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        _conversation("requests"),
        sa.Column("message_id", sa.BigInteger, nullable=False),
        sa.Column("answer_id", sa.BigInteger),
        sa.Column("answering_until", sa.DateTime(timezone=True), nullable=False),
        _created(),
        sa.PrimaryKeyConstraint("user_id", "idempotency_key", name="pk_requests"),
    )
    op.create_index("ix_requests_conversation_id", "requests", ["conversation_id"])
    op.create_table(
        "timings",
        sa.Column("answer_id", sa.BigInteger, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        *(sa.Column(f"{stage}_ms", sa.Float, nullable=False) for stage in _STAGES),
        sa.Column("prompt_tokens", sa.Integer, nullable=False),
        sa.Column("cached_tokens", sa.Integer),
        sa.Column("dropped_messages", sa.Integer, nullable=False),
        _created(),
        sa.PrimaryKeyConstraint("answer_id", name="pk_timings"),
    )


def downgrade() -> None:
    op.drop_table("timings")
    op.drop_table("requests")
    op.drop_table("messages")
    op.drop_table("conversations")
