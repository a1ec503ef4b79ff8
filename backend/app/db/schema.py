"""The tables, as the newest migration leaves them."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import UUID

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_now = sa.text("now()")

conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=_now),
    sa.Column("tenant", sa.Text, nullable=False, server_default=""),
    sa.Index("ix_conversations_user_id", "user_id"),
)

# `nonce` names the write that stored a message: a write whose outcome was lost looks for its own before it is
# repeated. `previous_id` is the message that this one follows. Two writers that follow the same one
# collide on the unique constraint, so a writer with an outdated history is told instead of believed.
messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column(
        "conversation_id",
        UUID(as_uuid=True),
        sa.ForeignKey("conversations.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("previous_id", sa.BigInteger),
    sa.Column(
        "role", sa.Text, sa.CheckConstraint("role IN ('user', 'assistant')", name="role"), nullable=False
    ),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("kind", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("finish_reason", sa.Text),
    sa.Column("ttft_ms", sa.Float),
    sa.Column("total_ms", sa.Float),
    sa.Column("output_tokens", sa.Integer),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=_now),
    sa.Column("nonce", UUID(as_uuid=True)),
    sa.Column("taken_back", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("conversation_id", "previous_id"),
    sa.Index("ix_messages_conversation_id_id", "conversation_id", "id"),
)

# One row per idempotency key: which message it stored, which answer it got, and who answers it until when.
requests = sa.Table(
    "requests",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True, server_default=""),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("idempotency_key", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column(
        "conversation_id",
        UUID(as_uuid=True),
        sa.ForeignKey("conversations.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("message_id", sa.BigInteger, nullable=False),
    sa.Column("answer_id", sa.BigInteger),
    sa.Column("answering_until", sa.DateTime(timezone=True), nullable=False),
    sa.Column("holder", UUID(as_uuid=True)),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=_now),
    sa.Index("ix_requests_conversation_id", "conversation_id"),
    sa.Index("ix_requests_created_at", "created_at"),
)

# One row per answer, written behind: nobody waits for it, and a crash may lose the last tenth of a second.
timings = sa.Table(
    "timings",
    metadata,
    sa.Column("answer_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("engine", sa.Text, nullable=False),
    sa.Column("cache_ms", sa.Float, nullable=False),
    sa.Column("store_ms", sa.Float, nullable=False),
    sa.Column("queue_ms", sa.Float, nullable=False),
    sa.Column("load_ms", sa.Float, nullable=False),
    sa.Column("prefill_ms", sa.Float, nullable=False),
    sa.Column("decode_ms", sa.Float, nullable=False),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("cached_tokens", sa.Integer),
    sa.Column("dropped_messages", sa.Integer, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=_now),
)
