"""Providers' usage, valid or not, as meters that add up to its total."""

import pytest
from pydantic import JsonValue

from services.contracts.usage import Meter
from services.upstream.core.usage import Tally, UsageReading, client_usage, response_meters, transcription_meters
from tests.upstream.drive import Drive, Json

FULL: Json = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 119,
        "audio_tokens": 13,
        "cached_tokens": 66,
        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 2},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}


def test_cached_tokens_have_meters_of_their_own() -> None:
    assert response_meters(FULL) == UsageReading(
        {
            Meter.TOKENS_TEXT_IN: 55,
            Meter.TOKENS_AUDIO_IN: 11,
            Meter.TOKENS_TEXT_IN_CACHED: 64,
            Meter.TOKENS_AUDIO_IN_CACHED: 2,
            Meter.TOKENS_TEXT_OUT: 30,
            Meter.TOKENS_AUDIO_OUT: 91,
        },
        sane=True,
    )


@pytest.mark.parametrize(
    ("usage", "meters"),
    [
        ({}, {}),
        ({"input_tokens": 9, "output_tokens": 4}, {Meter.TOKENS_TEXT_IN: 9, Meter.TOKENS_TEXT_OUT: 4}),
        (
            {"input_tokens": 9, "input_token_details": {"text_tokens": 3, "audio_tokens": 6, "cached_tokens": 5}},
            {
                Meter.TOKENS_TEXT_IN_CACHED: 3,
                Meter.TOKENS_AUDIO_IN: 4,
                Meter.TOKENS_AUDIO_IN_CACHED: 2,
            },
        ),
        (
            {"output_tokens": 10, "output_token_details": {"text_tokens": 1, "audio_tokens": 2}},
            {Meter.TOKENS_TEXT_OUT: 8, Meter.TOKENS_AUDIO_OUT: 2},
        ),
    ],
)
def test_what_is_left_unsaid_is_filled_in_so_that_totals_hold(usage: Json, meters: dict[Meter, int]) -> None:
    assert response_meters(usage) == UsageReading(meters, sane=True)


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": -5},
        {"input_tokens": 1e30},
        {"input_tokens": True},
        {"input_tokens": 1.5},
        {"total_tokens": 99, "input_tokens": 1},
        {"input_tokens": 3, "input_token_details": {"text_tokens": 4}},
        {"input_tokens": 3, "input_token_details": {"text_tokens": 3, "cached_tokens": 4}},
        {"input_token_details": {"audio_tokens": -1}},
    ],
)
def test_insane_usage_is_booked_sanely_and_told(usage: Json) -> None:
    reading = response_meters(usage)
    assert not reading.sane
    assert all(quantity > 0 for quantity in reading.meters.values())


@pytest.mark.parametrize(
    ("usage", "meters", "sane"),
    [
        ({"type": "tokens", "input_tokens": 13, "output_tokens": 9, "total_tokens": 22}, (13, 9, 0), True),
        ({"type": "duration", "seconds": 1.2345}, (0, 0, 1235), True),
        ({"type": "duration", "seconds": 3}, (0, 0, 3000), True),
        ({"type": "duration", "seconds": -3}, (0, 0, 0), False),
        ({"type": "duration", "seconds": "3"}, (0, 0, 0), False),
        ({"type": "duration", "seconds": True}, (0, 0, 0), False),
        ({"input_tokens": -1}, (0, 0, 0), False),
        ({}, (0, 0, 0), True),
    ],
)
def test_transcriptions_are_tokens_or_time(usage: Json, meters: tuple[int, int, int], sane: bool) -> None:  # noqa: FBT001
    names = (Meter.TRANSCRIBE_TOKENS_IN, Meter.TRANSCRIBE_TOKENS_OUT, Meter.TRANSCRIBE_MS)
    expected = {name: quantity for name, quantity in zip(names, meters, strict=True) if quantity}
    assert transcription_meters(usage) == UsageReading(expected, sane=sane)


def test_clients_are_shown_whole_numbers_only() -> None:
    usage: Json = {"total_tokens": -1, "input_tokens": 3.0, "note": "x", "input_token_details": {"text_tokens": 2}}
    assert client_usage(usage) == {"total_tokens": 0, "input_tokens": 3, "input_token_details": {"text_tokens": 2}}


def test_a_session_that_never_opened_lasted_no_time() -> None:
    assert Tally().meters(now=5)[Meter.SESSION_MS] == 0


def test_usage_is_booked_under_the_providers_id_also_of_cancelled_and_unknown_responses() -> None:
    drive = Drive().ready()
    drive.done("resp_P9", status="cancelled", usage={"input_tokens": 7})
    assert (drive.booked[0].provider_ref, drive.booked[0].meters) == ("resp_P9", {Meter.TOKENS_TEXT_IN: 7})
    assert drive.faults == ["unexpected"]


def test_insane_usage_of_a_response_is_counted() -> None:
    drive = Drive().ready()
    drive.created()
    drive.done(usage={"input_tokens": -7})
    assert drive.faults == ["usage"]


def transcribed(drive: Drive, usage: JsonValue) -> Json:
    drive.utter(frames=20)
    drive.provider("input_audio_buffer.committed", item_id="item_PU")
    kind = "conversation.item.input_audio_transcription.completed"
    drive.provider(kind, item_id="item_PU", content_index=0, transcript="hello", usage=usage)
    return drive.one(kind)


def test_a_transcription_is_booked_under_the_providers_item() -> None:
    drive = Drive().ready()
    usage: Json = {"type": "tokens", "input_tokens": 4, "output_tokens": 2, "total_tokens": 6}
    assert transcribed(drive, usage)["usage"] == usage
    assert (drive.booked[-1].provider_ref, drive.booked[-1].meters) == (
        "item_PU",
        {Meter.TRANSCRIBE_TOKENS_IN: 4, Meter.TRANSCRIBE_TOKENS_OUT: 2},
    )


def test_a_transcription_is_booked_under_the_model_that_wrote_it() -> None:
    drive = Drive().ready()
    parameter: Json = {"audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}}}
    drive.client("session.update", session=parameter)
    drive.confirm()
    transcribed(drive, {"type": "tokens", "input_tokens": 4, "output_tokens": 2, "total_tokens": 6})
    assert drive.booked[-1].model == "gpt-4o-mini-transcribe"


def test_a_transcription_without_usage_shows_how_long_the_utterance_was() -> None:
    drive = Drive().ready()
    assert transcribed(drive, None)["usage"] == {"type": "duration", "seconds": 0.4}
    assert drive.booked == []


def test_insane_usage_of_a_transcription_is_counted() -> None:
    drive = Drive().ready()
    transcribed(drive, {"type": "duration", "seconds": -1})
    assert drive.faults == ["usage"]
