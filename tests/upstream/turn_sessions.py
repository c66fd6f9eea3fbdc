"""Sessions with a turn detection."""

from pydantic import JsonValue

from tests.upstream.drive import Drive, Json, core_of

VAD: Json = {"type": "server_vad"}


def session(turns: JsonValue) -> Json:
    return {"audio": {"input": {"turn_detection": turns}}}


def drive(turns: JsonValue) -> Drive:
    return Drive(core_of(session(turns))).ready()


def update(d: Drive, turns: JsonValue, **more: JsonValue) -> None:
    d.client("session.update", session={"type": "realtime", **session(turns)}, **more)
