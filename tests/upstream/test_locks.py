"""Locked fields and those of the gateway cannot be set by a client under another name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.grant import Grant
from services.contracts.ids import SessionId, TenantId
from services.contracts.session.locks import LOCKABLE
from services.contracts.session.parse import InvalidSessionError
from services.contracts.session.sizes import MAX_UPDATED_BYTES
from services.contracts.turn_detection import TurnTerms
from services.upstream.core.session_config_state import SessionConfigState, part_for_provider
from tests.contracts.sessions import SESSIONS, UPDATES
from tests.upstream.drive import Drive, Json, core_of, object_of

BETA: Json = {
    "modalities": ["text"],
    "voice": "cedar",
    "speed": 1.5,
    "input_audio_format": "g711_ulaw",
    "output_audio_format": "g711_ulaw",
    "input_audio_transcription": {"model": "whisper-1"},
    "input_audio_noise_reduction": {"type": "near_field"},
    "turn_detection": {"type": "server_vad"},
    "max_response_output_tokens": "inf",
}


def test_old_names_of_fields_have_no_effect() -> None:
    drive = Drive(core_of(BETA)).ready()
    drive.client("session.update", session={**BETA, "tool_choice": "none"})
    drive.confirm()
    session = object_of(drive.one("session.updated"), "session")
    assert not set(session) & set(BETA)
    assert object_of(drive.sent("session.update"), "session") == {"type": "realtime", "tool_choice": "none"}


def test_the_provider_is_not_set_up_by_old_names() -> None:
    drive = Drive(core_of(BETA))
    drive.record(drive.core.provider_opened(now=drive.now))
    assert set(object_of(drive.sent("session.update"), "session")) == {"type", "audio"}


@pytest.mark.parametrize(
    ("locked", "wanted"),
    [
        ("tracing", {"tracing": "auto"}),
        ("truncation", {"truncation": "disabled"}),
        ("temperature", {"temperature": 2}),
        ("audio", {"audio": {"output": {"voice": "cedar"}}, "voice": "cedar", "output_audio_format": "g711_ulaw"}),
        ("output_modalities", {"modalities": ["text"]}),
        ("max_output_tokens", {"max_response_output_tokens": "inf"}),
        ("", {"audio": {"input": {"turn_detection": {"type": "server_vad"}}}}),
    ],
)
def test_no_lock_is_got_round_by_a_response(locked: str, wanted: Json) -> None:
    drive = Drive(core_of(locked=(locked,))).ready()
    drive.client("response.create", response=wanted)
    assert "response" not in drive.sent("response.create")


def state_of(session: Json, *, locked: tuple[str, ...] = ()) -> SessionConfigState:
    grant = Grant(tenant=TenantId("acme"), session=session, locked=locked)
    return SessionConfigState(
        session_id=SessionId("sess_ours"), grant=grant, model="m", expires_at=1, turn_terms=TurnTerms()
    )


@given(
    granted=SESSIONS,
    updates=st.lists(UPDATES, max_size=3),
    locked=st.sets(st.sampled_from(sorted(LOCKABLE))).map(tuple),
)
def test_neither_client_nor_provider_ever_sees_a_locked_field_change(
    granted: Json, updates: list[Json], locked: tuple[str, ...]
) -> None:
    state = state_of(granted, locked=locked)
    shown, driven = state.effective, state.for_provider()
    for update in updates:
        changed = state.changes_of(update)
        for_provider = part_for_provider(changed)
        state.apply(changed)
        assert not {"model", *locked, *BETA} & for_provider.keys()
    assert all(state.effective.get(name) == shown.get(name) for name in locked)
    assert all(state.for_provider().get(name) == driven.get(name) for name in locked)
    assert not BETA.keys() & state.effective.keys()


def test_updates_cannot_add_up_to_a_session_without_bound() -> None:
    state = state_of({})
    half = "x" * (MAX_UPDATED_BYTES // 2)
    state.apply(state.changes_of({"first": half}))
    with pytest.raises(InvalidSessionError, match="larger than"):
        state.changes_of({"second": half})
    with pytest.raises(InvalidSessionError, match="larger than"):
        state_of({}).changes_of({"second": half}, pending=[{"first": half}])
    assert "second" not in state.effective
