"""Alembic's entry: the connection is handed in by migrate.py, inside its transaction."""

from alembic import context

from engine.journal.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
