"""What a tenant has locked, and what is ours, no client can set under another name."""

import pytest

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
    session = object_of(drive.one("session.updated"), "session")
    assert not set(session) & set(BETA)
    assert object_of(drive.sent("session.update"), "session") == {"type": "realtime", "tool_choice": "none"}


def test_the_provider_is_not_set_up_by_old_names() -> None:
    drive = Drive(core_of(BETA))
    drive.take(drive.core.provider_opened(now=drive.now))
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
