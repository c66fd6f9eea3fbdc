"""Items that the client creates, and their confirmation."""

from dataclasses import replace

from pydantic import JsonValue

from services.upstream.connectors.openai import CAPABILITIES
from tests.upstream.drive import Drive, Json

MESSAGE: Json = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
LIMITED = replace(CAPABILITIES, session_limit_s=480)
DUE_S = 361
"""When a session of `LIMITED` is replaced."""


def create(drive: Drive, item_id: str, **more: JsonValue) -> Json:
    """Create an item and confirm it, without a word on its place; return `added`."""
    drive.forget().client("conversation.item.create", item={**MESSAGE, "id": item_id}, **more)
    confirm(drive, item_id)
    assert (
        drive.one("conversation.item.added")["previous_item_id"]
        == drive.one("conversation.item.done")["previous_item_id"]
    )
    return drive.one("conversation.item.added")


def confirm(drive: Drive, item_id: str) -> None:
    for kind in ("added", "done"):
        drive.provider(f"conversation.item.{kind}", item={**MESSAGE, "id": item_id}, previous_item_id=None)


def refuse(drive: Drive, kind: str) -> None:
    error: Json = {"type": "invalid_request_error", "message": "No.", "event_id": drive.sent(kind)["event_id"]}
    drive.forget().provider("error", error=error)


def spoken(drive: Drive) -> str:
    """Let the caller speak; return our id of the utterance."""
    drive.forget().utter()
    return str(drive.one("input_audio_buffer.committed")["item_id"])
