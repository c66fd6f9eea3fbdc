import json

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from services.contracts.json_bytes import json_bytes
from tests.contracts.sessions import ANY


@given(value=ANY)
def test_json_is_written_as_utf_8_and_read_as_it_was(value: JsonValue) -> None:
    assert json.loads(json_bytes(value).decode("utf-8")) == value


@given(text=st.text())
def test_no_character_that_utf_8_holds_is_escaped_but_those_that_json_must(text: str) -> None:
    shortly = {**dict.fromkeys(map(chr, range(32)), 6), **dict.fromkeys('"\\\b\t\n\f\r', 2)}
    assert len(json_bytes(text)) == 2 + sum(shortly.get(letter, len(letter.encode())) for letter in text)


@given(text=st.text(st.characters(categories=["Cs", "L"])))
def test_a_lone_surrogate_stays_an_escape(text: str) -> None:
    written = json_bytes({text: text}).decode("utf-8")
    assert json.loads(written) == json.loads(json.dumps({text: text}))
