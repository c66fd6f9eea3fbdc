import json
import typing
from pathlib import Path

import pytest

from services.contracts import call_history, messages
from services.contracts.connect import OtherAnswer, OtherOffer, WebRtcAnswer, WebRtcOffer
from services.contracts.endings import EndReason
from services.contracts.grant import Grant, Limits
from services.contracts.ids import (
    NO_KEY,
    CallId,
    Epoch,
    KeyId,
    LegId,
    ProcessId,
    SessionId,
    TenantId,
    WorkerId,
)
from services.contracts.message import Message
from services.contracts.messages import MalformedMessageError, TenantCalls, TenantKey
from services.contracts.turn_detection import TurnTerms

GOLDEN = Path(__file__).parent / "golden" / "messages"
CALL = CallId("rtc_" + "a1" * 13)
TENANT = TenantId("acme")
MEDIA = ProcessId("media-0")
GRANT = Grant(
    tenant=TENANT,
    session={"type": "realtime", "model": "gpt-realtime-2.1", "instructions": "Be brief."},
    limits=Limits(max_seconds=600),
    locked=("instructions",),
    events=("gate",),
    key=KeyId("0123456789abcdef"),
)
TENANT_KEY = TenantKey(tenant=TENANT, key=GRANT.key)
EXAMPLES: list[Message] = [
    messages.Heartbeat(
        process=MEDIA,
        zone="a",
        version="0.1.0",
        draining=False,
        active=3,
        reserved=1,
        capacity=50,
        loop_lag_ms=0.4,
        http_url="http://10.0.0.7:8080",
        newest=1_700_000_000_003,
        calls=(TenantCalls(tenant=TENANT, connected=(CALL,), half_open=(CallId("rtc_" + "b2" * 13),)),),
        turns=TurnTerms(min_silence_duration_ms=200),
    ),
    messages.Offer(call=CALL, leg=LegId("leg_1"), attempt=1, connect=WebRtcOffer(sdp="v=0\r\n"), grant=GRANT),
    messages.OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n"), number=1_700_000_000_003),
    messages.OfferRefused(reason="full"),
    messages.KeyCheck(keys=(TENANT_KEY,)),
    messages.KeysChecked(known=(TENANT_KEY,), gone=(TenantKey(tenant=TenantId("other"), key=NO_KEY),)),
    messages.Claim(call=CALL, process=MEDIA, grant=GRANT, deadline_unix_ms=1_700_000_002_000),
    messages.ClaimGranted(
        worker=WorkerId("upstream-0"),
        epoch=Epoch(12),
        session=SessionId("sess_1"),
        provider="openai",
        model="gpt-realtime-2.1",
    ),
    messages.ClaimRefused(reason="draining"),
    messages.Hangup(call=CALL),
    messages.Restart(call=CALL, leg=LegId("leg_1"), connect=WebRtcOffer(sdp="v=0\r\n")),
    messages.Done(),
    messages.UtteranceStart(cause="speech", onset_index=110),
    messages.UtteranceEnd(reason="speech_end", speech_end_index=190, hangover_ms=500),
    messages.EagerEnd(speech_end_index=190, silence_ms=300),
    messages.PlayoutReport(heard_ms=7400, cut=True, cause="barge_in", received=31),
    messages.TurnDetection(
        silence_duration_ms=2000, threshold=0.9, prefix_padding_ms=300, interrupt_response=False, eager_ms=1000
    ),
    messages.Ended(reason=EndReason.PROVIDER_ERROR, detail="closed"),
    call_history.CallPlaced(
        call=CALL,
        tenant=TENANT,
        process=MEDIA,
        model="gpt-realtime-2.1",
        providers=("openai",),
        max_seconds=600,
        placed_unix_ms=1_700_000_000_000,
    ),
    call_history.CallStarted(
        call=CALL, tenant=TENANT, process=MEDIA, provider="openai", model="m", started_unix_ms=1_700_000_000_000
    ),
    call_history.CallEnded(
        call=CALL,
        tenant=TENANT,
        process=MEDIA,
        provider="openai",
        model="m",
        reason=EndReason.HANGUP,
        started_unix_ms=1_700_000_000_000,
        ended_unix_ms=1_700_000_060_000,
    ),
    call_history.Watermark(source="outbox_1", sequence=42),
]


def name(message: Message) -> str:
    return str(message.model_dump()["type"])


@pytest.mark.parametrize("message", EXAMPLES, ids=name)
def test_a_message_is_the_agreed_json(message: Message, pytestconfig: pytest.Config) -> None:
    file = GOLDEN / f"{name(message)}.json"
    if pytestconfig.getoption("--write-golden"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(json.loads(message.encode()), indent=2) + "\n")
    assert json.loads(message.encode()) == json.loads(file.read_text())
    assert messages.decode(file.read_bytes()) == message


def test_every_message_has_an_example() -> None:
    union = typing.get_args(typing.get_args(messages.AnyMessage)[0])
    assert {type(example) for example in EXAMPLES} == set(union)


SDP_ONLY = [
    (messages.Offer, "offer"),
    (messages.OfferAnswered, "offer.answered"),
    (messages.Restart, "restart"),
]


@pytest.mark.parametrize(("kind", "name"), SDP_ONLY)
def test_a_message_of_an_earlier_release_says_sdp_alone(kind: type[Message], name: str) -> None:
    written = json.loads((GOLDEN / f"{name}.json").read_bytes())
    earlier = {key: value for key, value in written.items() if key != "connect"}
    assert earlier["sdp"] == written["connect"]["sdp"]
    assert messages.expect(kind, json.dumps(earlier).encode()) == messages.decode(json.dumps(written).encode())


def test_a_transport_of_a_later_release_keeps_all_that_it_says() -> None:
    offer = messages.Restart(call=CALL, connect=OtherOffer.model_validate({"transport": "pigeon", "loft": 7}))
    answer = messages.OfferAnswered(connect=OtherAnswer.model_validate({"transport": "pigeon", "grain": 2}))
    for message in (offer, answer):
        assert messages.decode(message.encode()) == message
        assert json.loads(message.encode())["sdp"] == ""


def test_a_heartbeat_of_an_earlier_release_does_not_say_what_sessions_may_set() -> None:
    written = json.loads((GOLDEN / "media.heartbeat.json").read_bytes())
    del written["turns"]
    assert messages.expect(messages.Heartbeat, json.dumps(written).encode()).turns is None


def test_a_field_of_a_later_version_is_ignored() -> None:
    assert messages.decode(b'{"type": "done", "later": 1}') == messages.Done()


@pytest.mark.parametrize("data", [b"", b"nonsense", b"[]", b'{"type": "unheard.of"}', b'{"type": "hangup"}'])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        messages.decode(data)


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
@pytest.mark.parametrize("time", [-1, 253_402_300_800_000, 2**63])
def test_a_time_that_no_calendar_has_is_refused(example: Message, time: int) -> None:
    for field in (field for field in example.model_dump() if field.endswith("_unix_ms")):
        with pytest.raises(MalformedMessageError, match=field):
            messages.decode(json.dumps(json.loads(example.encode()) | {field: time}).encode())


def test_a_refusal_never_quotes_its_input() -> None:
    with pytest.raises(MalformedMessageError) as caught:
        messages.decode(b'{"type": "hangup", "call": ["ek_secret"]}')
    assert "ek_secret" not in str(caught.value)


def test_another_message_than_the_expected_one_is_refused() -> None:
    with pytest.raises(MalformedMessageError, match="done where Hangup belongs"):
        messages.expect(messages.Hangup, messages.Done().encode())
    assert messages.expect(messages.Done, messages.Done().encode()) == messages.Done()
