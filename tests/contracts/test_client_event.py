import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.client_event import MAX_EVENT_ID, RefusedEvent, event_id, not_text, read_event


@pytest.mark.parametrize(
    ("raw", "code", "identified"),
    [
        (b"", "invalid_json", None),
        (b"{'type': 'x'}", "invalid_json", None),
        (b'{"type": "x", "event_id": "mine"', "invalid_json", "mine"),
        (b'{"event_id"  :\t"mine", oops', "invalid_json", "mine"),
        (b'{"type": NaN, "event_id": "mine"}', "invalid_json", "mine"),
        (b'{"type": "x", "n": Infinity}', "invalid_json", None),
        (b'{"type": "x", "n": ' + b"9" * 5000 + b"}", "invalid_json", None),
        (b'{"type": "\xff", "event_id": "mine"}', "invalid_json", "mine"),
        (b'{"type": "x", "event_id": "mine", "n": 1e999}', "invalid_json", "mine"),
        (b'{"type": "x", "event_id": "mine", "n": [-1.5E+400]}', "invalid_json", "mine"),
        (b'{"type": "x", "event_id": "mine", "text": "a\\ud800 b"}', "invalid_json", "mine"),
        (b'{"type": "x", "event_id": "mine", "\\uDFFF": {}}', "invalid_json", "mine"),
        (b'{"type": "x", "event_id": "mine", "text": "\\ude00\\ud83d"}', "invalid_json", "mine"),
        (b"[" * 20_000, "invalid_event", None),
        (b"null", "invalid_event", None),
        (b"[]", "invalid_event", None),
        (b'"type"', "invalid_event", None),
        (b"{}", "missing_required_parameter", None),
        (b'{"event_id": "mine"}', "missing_required_parameter", "mine"),
        (b'{"type": null, "event_id": "mine"}', "missing_required_parameter", "mine"),
        (b'{"type": ["x"], "event_id": "mine"}', "invalid_type", "mine"),
        (b'{"event_id": "mine", "x": [' + b"1," * 300_000 + b"1]}", "event_too_complex", "mine"),
    ],
)
def test_what_is_no_event_is_refused_with_its_id(raw: bytes, code: str, identified: str | None) -> None:
    refused = read_event(raw)
    assert isinstance(refused, RefusedEvent)
    assert (refused.code, refused.event_id) == (code, identified)


def test_a_long_event_of_few_values_is_read() -> None:
    picture = json.dumps({"type": "x", "url": "A" * 5_000_000}).encode()
    assert isinstance(read_event(picture), dict)


def test_whole_pairs_of_surrogates_and_finite_numbers_are_read() -> None:
    event = read_event(b'{"type": "x", "text": "\\ud83d\\ude00 \\\\ud800", "n": 1.5e30}')
    assert event == {"type": "x", "text": "\U0001f600 \\ud800", "n": 1.5e30}


def test_a_binary_message_is_refused() -> None:
    assert not_text().reason == "binary"


@pytest.mark.parametrize(("given_id", "read"), [("a", "a"), ("", None), (3, None), ("x" * 600, "x" * MAX_EVENT_ID)])
def test_an_event_id_is_a_string_of_bounded_length(given_id: str | int, read: str | None) -> None:
    assert event_id({"event_id": given_id}) == read


@given(st.binary(max_size=200) | st.text().map(lambda text: text.encode(errors="surrogatepass")))
def test_whatever_comes_is_an_event_or_refused(raw: bytes) -> None:
    event = read_event(raw)
    assert isinstance(event, RefusedEvent) or isinstance(event["type"], str)
