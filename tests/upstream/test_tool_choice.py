"""A choice of tools in an update or a response is checked with the tools that will be in force then."""

import pytest
from pydantic import JsonValue

from tests.upstream.drive import Drive, Json, core_of, object_of

LOOK: Json = {"type": "function", "name": "look"}
SEE: Json = {"type": "function", "name": "see"}
PROMPT: Json = {"id": "pmpt_1"}


@pytest.mark.parametrize(
    ("granted", "changed"),
    [
        ({}, {"tool_choice": "required"}),
        ({}, {"tool_choice": LOOK}),
        ({"tools": [SEE]}, {"tool_choice": LOOK}),
        ({"tools": [LOOK]}, {"tools": [SEE], "tool_choice": LOOK}),
        ({"tools": [LOOK], "tool_choice": LOOK}, {"tools": [SEE]}),
        ({"tools": [LOOK], "tool_choice": "required"}, {"tools": []}),
        ({"prompt": PROMPT, "tool_choice": "required"}, {"prompt": None}),
    ],
)
@pytest.mark.parametrize(("event", "field"), [("session.update", "session"), ("response.create", "response")])
def test_a_choice_without_its_tool_is_refused(granted: Json, changed: Json, event: str, field: str) -> None:
    drive = Drive(core_of(granted)).ready()
    drive.client(event, event_id="mine", **{field: changed})
    assert (drive.error["code"], drive.error["param"]) == ("invalid_value", f"{field}.tool_choice")
    assert (drive.error["event_id"], drive.sent_types) == ("mine", [])


@pytest.mark.parametrize(
    ("granted", "changed"),
    [
        ({"tools": [LOOK]}, {"tool_choice": "required"}),
        ({"tools": [LOOK]}, {"tool_choice": LOOK}),
        ({}, {"tools": [SEE], "tool_choice": SEE}),
        ({"tools": [LOOK], "tool_choice": LOOK}, {"tools": [SEE], "tool_choice": "auto"}),
        ({"prompt": PROMPT}, {"tool_choice": "required"}),
        ({"tool_choice": "required"}, {"instructions": "Be kind."}),  # of an earlier release's token
    ],
)
@pytest.mark.parametrize(("event", "field"), [("session.update", "session"), ("response.create", "response")])
def test_a_choice_with_its_tool_is_sent_on(granted: Json, changed: Json, event: str, field: str) -> None:
    drive = Drive(core_of(granted)).ready()
    drive.client(event, **{field: changed})
    assert drive.sent_types == [event]
    assert "error" not in drive.shown


def test_updates_that_the_provider_has_not_confirmed_count() -> None:
    drive = Drive().ready()
    tools: JsonValue = [LOOK]
    drive.client("session.update", session={"tools": tools})
    drive.client("session.update", session={"tool_choice": LOOK})
    drive.client("response.create", response={"tool_choice": "required"})
    assert drive.sent_types == ["session.update", "session.update", "response.create"]
    drive.client("response.create", response={"tools": [], "conversation": "none"})
    assert drive.error["param"] == "response.tool_choice"


@pytest.mark.parametrize("tracing", [{}, {"workflow_name": None}])
def test_an_empty_object_is_sent_and_shown_when_minted_and_in_an_update(tracing: Json) -> None:
    minted = Drive(core_of({"tracing": tracing}))
    minted.record(minted.core.started(now=minted.now))
    minted.open()
    updated = Drive().ready()
    updated.client("session.update", session={"tracing": tracing})
    updated.confirm()
    for drive, kind in ((minted, "session.created"), (updated, "session.updated")):
        assert object_of(drive.sent("session.update"), "session")["tracing"] == tracing
        assert object_of(drive.one(kind), "session")["tracing"] == tracing


def test_an_update_of_the_transcription_shows_the_model_that_transcribes() -> None:
    drive = Drive().ready()
    drive.client("session.update", session={"audio": {"input": {"transcription": {"prompt": "Names."}}}})
    drive.confirm(audio={"input": {"transcription": {"model": "whisper-1", "prompt": "Names.", "language": None}}})
    audio = object_of(object_of(drive.one("session.updated"), "session"), "audio")
    assert object_of(audio, "input")["transcription"] == {"prompt": "Names.", "model": "whisper-1"}
