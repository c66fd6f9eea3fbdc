"""Alembic's environment: runs on the connection that services.metering.migrate passes."""

from alembic import context

from services.metering.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
