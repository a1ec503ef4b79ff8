"""Alembic's entry: runs on the connection that `app.db.migrate` hands over."""

from alembic import context

from app.db.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, compare_server_default=False
)
with context.begin_transaction():
    context.run_migrations()
