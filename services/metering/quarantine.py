"""`hushgate metering quarantine` and `release`: list quarantined messages, and have metering book them."""

import json
import sys
from collections.abc import Callable, Sequence

from sqlalchemy import Engine, null, select
from sqlalchemy.exc import SQLAlchemyError

from services.metering import held_messages, rows, tables
from services.metering.dialect import connect, failed, ledger_url
from services.metering.settings import MeteringSettings
from services.runtime import clock
from services.runtime.errors import HushgateError
from services.runtime.process.settings import load


def show() -> int:
    """Print unreleased quarantined messages, one JSON object per line, the oldest first; return the exit code."""
    return _guarded("quarantine", _show)


def release(numbers: Sequence[str]) -> int:
    """Ask metering to book quarantined messages unchecked; exit code 1 if a number has no unreleased message."""
    return _guarded("release", lambda engine: _release(engine, numbers))


def _guarded(command: str, work: Callable[[Engine], int]) -> int:
    try:
        settings = load(MeteringSettings)
        engine = connect(ledger_url(settings.secret("ledger_url").get_secret_value(), settings.data_dir))
        try:
            return work(engine)
        except SQLAlchemyError as exc:
            raise failed(engine, exc) from exc
        finally:
            engine.dispose()
    except HushgateError as exc:
        sys.stderr.write(f"hushgate metering {command}: {exc}\n")
        return 2


def _show(engine: Engine) -> int:
    table = tables.quarantine
    with engine.begin() as db:
        for row in db.execute(select(table).where(table.c.released_ms.is_(null())).order_by(table.c.id)):
            entry = {
                "number": row.id,
                "received": rows.at(row.received_ms).isoformat(),
                "reason": row.reason,
                "subject": row.subject,
                "call_id": row.call_id,
                "asked_to_release": row.release_ms is not None,
                "body": row.body.decode(errors="replace"),
            }
            sys.stdout.write(json.dumps(entry) + "\n")
    return 0


def _release(engine: Engine, numbers: Sequence[str]) -> int:
    now = clock.utc_now()
    with engine.begin() as db:
        missing = [
            number
            for number in numbers
            if not (number.isdecimal() and held_messages.request_release(db, int(number), now))
        ]
    if missing:
        sys.stderr.write(
            f"hushgate metering release: no unreleased message in quarantine has the number {', '.join(missing)}\n"
        )
        return 1
    sys.stdout.write("metering books it within seconds, or at its next start; its log says usage_released\n")
    return 0
