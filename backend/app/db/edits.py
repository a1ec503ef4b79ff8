"""What a user changes in a conversation: its title, and messages that are taken back to ask again."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app.core.ports import Owner

from .schema import conversations, messages

# What was taken back stands empty in its place, with an empty message behind it. A replica or a cache that
# still believes in it stores the next question behind the last message that it knows, and is told by the
# unique constraint that it was overtaken. The key of a question that is gone is free again.
TAKE_BACK = sa.text(
    """
    WITH home AS (
        SELECT id FROM conversations
        WHERE id = :conversation_id AND user_id = :user_id AND tenant = ANY(CAST(:tenants AS text[]))
        FOR UPDATE
    ), gone AS (
        UPDATE messages m SET taken_back = true, content = '' FROM home
        WHERE m.conversation_id = home.id AND m.id >= :message_id AND NOT m.taken_back
          AND EXISTS (SELECT 1 FROM messages n WHERE n.id = :message_id AND n.conversation_id = home.id)
        RETURNING m.id
    ), keys AS (
        DELETE FROM requests r USING gone WHERE r.message_id = gone.id
    )
    INSERT INTO messages (conversation_id, previous_id, role, content, taken_back)
    SELECT home.id, (SELECT max(m.id) FROM messages m WHERE m.conversation_id = home.id), 'user', '', true
    FROM home WHERE EXISTS (SELECT 1 FROM gone)
    RETURNING id
    """
)


def take_back(conversation_id: UUID, owner: Owner, message_id: int) -> sa.Executable:
    """Take back a message and all that follow; no row: there is no such message of this owner's."""
    values: dict[str, Any] = {
        "conversation_id": conversation_id,
        "user_id": owner.user_id,
        "tenants": list(owner.tenants),
        "message_id": message_id,
    }
    return TAKE_BACK.bindparams(**values)


def rename(conversation_id: UUID, owner: Owner, title: str) -> sa.Executable:
    """Set a title; no row: there is no such conversation of this owner's."""
    mine = (conversations.c.id == conversation_id) & is_of(conversations, owner)
    return sa.update(conversations).where(mine).values(title=title).returning(conversations.c.id)


def holds(summaries: sa.FromClause, text: str) -> sa.ColumnElement[bool]:
    """Whether the title or a message of a conversation holds a text, in any case of letters."""
    said = sa.exists().where(
        (messages.c.conversation_id == summaries.c.id) & messages.c.content.icontains(text, autoescape=True)
    )
    return summaries.c.title.icontains(text, autoescape=True) | said


def is_of(table: sa.FromClause, owner: Owner) -> sa.ColumnElement[bool]:
    """Whether a conversation is one of this owner's."""
    return (table.c.user_id == owner.user_id) & table.c.tenant.in_(owner.tenants)
