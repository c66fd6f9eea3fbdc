from datetime import UTC, datetime

import pytest

from services.rehearsal.core.dialogue import Context, answer, sentences_of
from services.rehearsal.core.items import Message, Part
from services.rehearsal.core.numbers import in_words, numbers_in
from services.rehearsal.core.story import story_text

NINE = datetime(2026, 1, 1, 9, 5, tzinfo=UTC)


def said(text: str, *, at: datetime = NINE, instructions: str = "") -> str:
    items = [Message("item_1", "user", [Part("input_audio", text)]), Message("item_2", "assistant", [])]
    found = answer(Context(items, instructions, at))
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize(
    ("heard", "beginning"),
    [
        ("hello", "Hello! Yes"),
        ("Good morning!", "Hello! Yes"),
        ("hello there how are you", "I am well"),
        ("what time is it", "It is nine oh five AM."),
        ("can you tell me the time please", "It is nine oh five AM."),
        ("tell me a long story", "Gladly."),
        ("tell me along sorry", "Gladly."),
        ("what is the weather in paris", "I have no window"),
        ("found the leather", "I have no window"),
        ("goodbye", "Goodbye!"),
        ("thank you goodbye", "Goodbye!"),
        ("stop", "All right"),
        ("please stop talking", "All right"),
        ("who are you", "I am the rehearsal"),
        ("what can you do", "I tell the time"),
        ("thank you very much", "You are welcome"),
        ("", "Sorry"),
        ("...", "Sorry"),
        ("My favourite colour is blue.", "You said: My favourite colour is blue."),
        ("the bus stop is at the end of the street", "You said: the bus stop"),
    ],
)
def test_it_answers_what_it_understood(heard: str, beginning: str) -> None:
    assert said(heard).startswith(beginning)


@pytest.mark.parametrize(
    ("heard", "last"),
    [
        ("count to five", "five"),
        ("please down to ten", "ten"),
        ("can you come to twenty", "twenty"),
        ("count to 3", "three"),
        ("count up to twenty-five", "twenty five"),
        ("count", "ten"),
        ("count to zero", "one"),
        ("count to 5000", "ninety nine"),
    ],
)
def test_it_counts_and_knows_what_counting_sounds_like(heard: str, last: str) -> None:
    assert said(heard).startswith("One")
    assert said(heard).endswith(f"That was {last}.")


@pytest.mark.parametrize(
    ("hour", "minute", "text"),
    [(0, 0, "twelve o'clock AM"), (12, 30, "twelve thirty PM"), (23, 59, "eleven fifty nine PM")],
)
def test_it_tells_the_time(hour: int, minute: int, text: str) -> None:
    assert said("what time is it", at=datetime(2026, 1, 1, hour, minute, tzinfo=UTC)) == f"It is {text}."


def test_it_says_what_the_instructions_quote() -> None:
    assert said("hello", instructions='Always answer with "Yes, captain."') == "Yes, captain."
    assert said("hello", instructions="You are a helpful assistant.").startswith("Hello!")


def test_it_greets_when_nobody_has_spoken() -> None:
    assert isinstance(greeting := answer(Context([], "", NINE)), str)
    assert greeting.startswith("Hello!")


def test_sentences_join_to_the_text() -> None:
    assert "".join(sentences_of(story_text())) == story_text()
    assert sentences_of("One. Two!") == ["One.", " Two!"]


def test_numbers_are_read_as_they_are_written() -> None:
    for value in range(100):
        assert numbers_in(in_words(value)) == [value]
    assert numbers_in("five, ten and twenty three or 17") == [5, 10, 23, 17]
    assert numbers_in("twenty of three") == [20, 3]
