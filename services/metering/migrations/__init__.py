"""Alembic migrations of the ledger; `upgrade` runs them at the start of metering."""
