"""Conversations in PostgreSQL: schema, migrations, sessions and the rows' own statements."""
