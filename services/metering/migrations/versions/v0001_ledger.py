"""The ledger: the append-only record and its projections."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, Text

from services.metering.dialect import append_only

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = BigInteger().with_variant(Integer, "sqlite")


def _required(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def upgrade() -> None:
    """Create all tables."""
    _make_record()
    _make_quarantine()
    _make_totals()
    _make_calls()
    for table in ("event", "journal", "posting"):
        append_only(op.get_bind(), table)


def downgrade() -> None:
    """Refuse to downgrade: that would delete the ledger."""
    raise NotImplementedError("the ledger has no way back; restore a backup")


def _make_record() -> None:
    op.create_table(
        "event",
        Column("position", _ID, primary_key=True),
        Column("id", Text, nullable=False, unique=True),
        _required("source"),
        _number("outboxseq"),
        _required("tenant"),
        _required("call_id"),
        _number("time_ms"),
        _number("received_ms"),
        _required("content_hash"),
        _required("body"),
    )
    op.create_index("event_place", "event", ["source", "outboxseq"])
    op.create_table(
        "journal",
        Column("id", _ID, primary_key=True),
        Column("event_position", BigInteger),
        _required("tenant"),
        _required("call_id"),
        _required("provider"),
        _required("model"),
        _required("meter"),
        _number("quantity"),
        _required("price_book"),
        _number("booked_ms"),
    )
    op.create_index("journal_call", "journal", ["tenant", "call_id"])
    op.create_table(
        "posting",
        Column("id", _ID, primary_key=True),
        _number("journal_id"),
        _required("account"),
        _number("amount_nano"),
    )
    op.create_index("posting_journal", "posting", ["journal_id"])


def _make_quarantine() -> None:
    op.create_table(
        "quarantine",
        Column("id", _ID, primary_key=True),
        Column("body_hash", Text, nullable=False, unique=True),
        _required("reason"),
        _required("subject"),
        Column("source", Text),
        Column("outboxseq", BigInteger),
        _number("received_ms"),
        Column("body", LargeBinary, nullable=False),
    )
    op.create_index("quarantine_place", "quarantine", ["source", "outboxseq"])


def _make_totals() -> None:
    op.create_table(
        "meter_total",
        _required("tenant"),
        _required("call_id"),
        _required("session_id"),
        _number("epoch"),
        _required("ref"),
        _required("meter"),
        _number("quantity"),
        _number("seq"),
        _required("provider"),
        _required("model"),
        PrimaryKeyConstraint("tenant", "call_id", "session_id", "epoch", "ref", "meter"),
    )
    op.create_table(
        "line",
        _required("tenant"),
        _required("call_id"),
        _required("provider"),
        _required("model"),
        _required("meter"),
        _number("quantity"),
        _number("cost_nano"),
        _number("saved_nano"),
        _required("price_book"),
        Column("unpriced", Integer, nullable=False),
        PrimaryKeyConstraint("tenant", "call_id", "provider", "model", "meter"),
    )


def _make_calls() -> None:
    op.create_table(
        "call",
        _required("tenant"),
        _required("call_id"),
        _required("provider"),
        _required("model"),
        _number("first_ms"),
        Column("started_ms", BigInteger),
        Column("ended_ms", BigInteger),
        Column("ended_reason", Text),
        PrimaryKeyConstraint("tenant", "call_id"),
    )
    op.create_index("call_first", "call", ["tenant", "first_ms"])
    op.create_table("source", Column("source", Text, primary_key=True), _number("watermark"))
