"""What a token locks, and how long a session may be, on whole calls."""

import pytest
from pydantic import JsonValue

from tests.system.gateway import Up
from tests.system.test_client_events import calling
from tests.upstream.drive import Json
from tests.upstream.test_locks import FIELD_OF, TOOL, WAYS

GRANTED: dict[str, JsonValue] = {
    "instructions": 'Say "apple".',
    "tools": [TOOL],
    "output_modalities": ["text"],
    "audio": {"input": {"turn_detection": None}, "output": {"voice": "marin"}},
}
MODALITY: Json = {"output_modalities": ["audio"]}


@pytest.mark.parametrize("lock", ["instructions", "tools", "voice", "output_modalities"])
async def test_what_a_token_locks_stays_in_force_whatever_the_client_sends(up: Up, lock: str) -> None:
    async with calling(up, locked=(lock,), **GRANTED) as wire:
        tries = [(event, way) for event, locks in WAYS.items() for way in locks.get(lock, ())]
        for number, (event, way) in enumerate(tries):
            changed = MODALITY if "output_modalities" in way else way
            wire.send(event, event_id=f"try_{number}", **{FIELD_OF[event]: changed})
            assert (await wire.error(f"try_{number}"))["code"] == "locked_by_token"
        wire.send("session.update", session={"max_output_tokens": 100})
        session = (await wire.event("session.updated"))["session"]
        assert (session["instructions"], session["tools"]) == (GRANTED["instructions"], GRANTED["tools"])
        assert (session["output_modalities"], session["audio"]["output"]["voice"]) == (["text"], "marin")
        wire.send("response.create", response={"tools": [TOOL], "output_modalities": ["text"]})
        (item,) = (await wire.event("response.done"))["response"]["output"]
        assert [part["text"] for part in item["content"]] == ["apple"]
        assert tries


@pytest.mark.parametrize("letter", ["x", "\u0436", "\u6f22", "\U0001f600"])
async def test_a_long_session_of_any_script_is_shown_when_it_begins_and_when_it_changes(up: Up, letter: str) -> None:
    long = letter * (90_000 // len(letter.encode()))
    async with calling(up, instructions=long) as wire:
        assert wire.seen("session.created")[0]["session"]["instructions"] == long
        wire.send("session.update", session={"instructions": f"Sing. {long}"})
        assert (await wire.event("session.updated"))["session"]["instructions"] == f"Sing. {long}"
