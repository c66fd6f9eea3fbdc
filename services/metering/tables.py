"""SQLAlchemy definitions of the ledger's tables; services/metering/migrations creates them."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite auto-increments only this type

# --- the record: append-only; triggers refuse updates and deletes -------------------------------------------------

event = Table(
    "event",
    metadata,
    Column("position", _Id, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("outboxseq", BigInteger, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("body", Text, nullable=False),
)
journal = Table(
    "journal",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("event_position", BigInteger),
    Column("tenant", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("meter", Text, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("price_book", Text, nullable=False),
    Column("booked_ms", BigInteger, nullable=False),
)
posting = Table(
    "posting",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("journal_id", BigInteger, nullable=False),
    Column("account", Text, nullable=False),
    Column("amount_nano", BigInteger, nullable=False),
)
quarantine = Table(
    "quarantine",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("body_hash", Text, nullable=False, unique=True),
    Column("reason", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("source", Text),
    Column("outboxseq", BigInteger),
    Column("received_ms", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("call_id", Text),
    Column("release_ms", BigInteger),
    Column("released_ms", BigInteger),
)

# --- placements and session owners, and the messages held for them ------------------------------------------------

placement = Table(
    "placement",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("process", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("providers", Text, nullable=False),
    Column("max_seconds", BigInteger, nullable=False),
    Column("placed_ms", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
)
owner = Table(
    "owner",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("session_id", Text, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("worker", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
)
held = Table(
    "held",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("body_hash", Text, nullable=False, unique=True),
    Column("reason", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("source", Text),
    Column("outboxseq", BigInteger),
    Column("received_ms", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("call_id", Text, nullable=False),
)
known_since = Table("known_since", metadata, Column("since_ms", BigInteger, primary_key=True))

# --- projections: can be recomputed from the record ---------------------------------------------------------------

meter_total = Table(
    "meter_total",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("call_id", Text, primary_key=True),
    Column("session_id", Text, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("meter", Text, primary_key=True),
    Column("quantity", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
)
line = Table(
    "line",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("call_id", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("meter", Text, primary_key=True),
    Column("quantity", BigInteger, nullable=False),
    Column("cost_nano", BigInteger, nullable=False),
    Column("saved_nano", BigInteger, nullable=False),
    Column("price_book", Text, nullable=False),
    Column("unpriced", Integer, nullable=False),
)
call = Table(
    "call",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("call_id", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("started_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Column("ended_reason", Text),
)
source = Table(
    "source",
    metadata,
    Column("source", Text, primary_key=True),
    Column("watermark", BigInteger, nullable=False),
)
