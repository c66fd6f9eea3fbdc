"""Calls whose caller has probably ended a turn."""

from services.upstream.core.commands import (
    CountEagerTurn,
    SendToProvider,
)
from tests.upstream.drive import EAGER, Drive, Json, core_of

USER: Json = {"id": "item_U1", "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
USAGE: Json = {"total_tokens": 30, "input_tokens": 20, "output_tokens": 10}
AHEAD = ["append"] * 10 + ["input_audio_buffer.commit", "response.create"]


def eager(session: Json | None = None, **more: object) -> Drive:
    return Drive(core_of(session, turn_terms=EAGER, **more)).ready()  # type: ignore[arg-type]


def paused(drive: Drive | None = None) -> Drive:
    """Return a call in which the caller has probably ended a turn of 200 ms."""
    drive = drive or eager()
    drive.start()
    drive.speak()
    drive.pause()
    return drive


def outcomes(drive: Drive) -> list[str]:
    return [c.outcome for c in drive.commands if isinstance(c, CountEagerTurn)]


def committed(drive: Drive, item_id: str = "item_U1") -> None:
    drive.provider("input_audio_buffer.committed", item_id=item_id, previous_item_id=None)


def events_sent(drive: Drive, kind: str) -> list[Json]:
    return [c.event for c in drive.commands if isinstance(c, SendToProvider) and c.event["type"] == kind]
