"""Tables of placements and session owners, and of usage held until they are known."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, Text, text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = BigInteger().with_variant(Integer, "sqlite")


def _required(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def upgrade() -> None:
    """Create the tables; record in an existing ledger the time from which placements are known."""
    op.create_table(
        "placement",
        _required("call_id"),
        _required("process"),
        _required("tenant"),
        _required("model"),
        _required("providers"),
        _number("max_seconds"),
        _number("placed_ms"),
        _number("received_ms"),
        PrimaryKeyConstraint("call_id", "process"),
    )
    op.create_index("placement_received", "placement", ["received_ms"])
    op.create_table(
        "owner",
        _required("call_id"),
        _required("session_id"),
        _number("epoch"),
        _required("worker"),
        _required("provider"),
        _required("model"),
        PrimaryKeyConstraint("call_id", "session_id", "epoch"),
    )
    _make_held()
    _extend_quarantine()
    op.create_table("known_since", Column("since_ms", BigInteger, primary_key=True, autoincrement=False))
    if op.get_bind().execute(text("SELECT 1 FROM event LIMIT 1")).first() is not None:
        op.execute(f"INSERT INTO known_since VALUES ({_NOW[op.get_bind().dialect.name]})")  # noqa: S608 - no input


_NOW = {
    "sqlite": "CAST(strftime('%s', 'now') AS INTEGER) * 1000",
    "postgresql": "CAST(extract(epoch FROM now()) * 1000 AS BIGINT)",
}


def downgrade() -> None:
    """Refuse to downgrade: that would delete the ledger."""
    raise NotImplementedError("the ledger has no way back; restore a backup")


def _make_held() -> None:
    op.create_table(
        "held",
        Column("id", _ID, primary_key=True),
        Column("body_hash", Text, nullable=False, unique=True),
        _required("reason"),
        _required("subject"),
        Column("source", Text),
        Column("outboxseq", BigInteger),
        _number("received_ms"),
        Column("body", LargeBinary, nullable=False),
        _required("call_id"),
    )
    op.create_index("held_call", "held", ["call_id"])
    op.create_index("held_place", "held", ["source", "outboxseq"])


def _extend_quarantine() -> None:
    op.add_column("quarantine", Column("call_id", Text))
    op.add_column("quarantine", Column("release_ms", BigInteger))
    op.add_column("quarantine", Column("released_ms", BigInteger))
    op.create_index("quarantine_call", "quarantine", ["call_id"])
