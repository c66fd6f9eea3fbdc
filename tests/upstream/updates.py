"""A provider that confirms or refuses updates of the session."""

from pydantic import JsonValue

from services.upstream.core.commands import SendToProvider
from tests.upstream.drive import Drive, Json


def sent_ids(drive: Drive) -> list[JsonValue]:
    """The ids of the updates that were sent to the provider."""
    sent = [c.event for c in drive.commands if isinstance(c, SendToProvider)]
    return [event["event_id"] for event in sent if event["type"] == "session.update"]


def refuse(drive: Drive, event_id: JsonValue, *, param: str | None = "session.instructions") -> None:
    error: Json = {"type": "invalid_request_error", "code": "invalid_value", "message": "No.", "param": param}
    drive.provider("error", error={**error, "event_id": event_id})


def report(drive: Drive, **session: JsonValue) -> None:
    drive.provider("session.updated", session=session)
