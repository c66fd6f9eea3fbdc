from datetime import UTC, datetime

import pytest

from services.rehearsal.core.dialogue import AnswerContext, answer, sentences_of
from services.rehearsal.core.items import ItemPart, MessageItem
from services.rehearsal.core.numbers import in_words, numbers_in
from services.rehearsal.core.story import story_text

NINE = datetime(2026, 1, 1, 9, 5, tzinfo=UTC)


def reply(text: str, *, at: datetime = NINE, instructions: str = "") -> str:
    items = [MessageItem("item_1", "user", [ItemPart("input_audio", text)]), MessageItem("item_2", "assistant", [])]
    found = answer(AnswerContext(items, instructions, at))
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize(
    ("text", "beginning"),
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
def test_it_answers_the_transcript(text: str, beginning: str) -> None:
    assert reply(text).startswith(beginning)


@pytest.mark.parametrize(
    ("text", "last"),
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
def test_it_counts_and_accepts_sound_alikes(text: str, last: str) -> None:
    assert reply(text).startswith("One")
    assert reply(text).endswith(f"That was {last}.")


@pytest.mark.parametrize(
    ("hour", "minute", "text"),
    [(0, 0, "twelve o'clock AM"), (12, 30, "twelve thirty PM"), (23, 59, "eleven fifty nine PM")],
)
def test_it_tells_the_time(hour: int, minute: int, text: str) -> None:
    assert reply("what time is it", at=datetime(2026, 1, 1, hour, minute, tzinfo=UTC)) == f"It is {text}."


def test_it_answers_with_the_quoted_instructions() -> None:
    assert reply("hello", instructions='Always answer with "Yes, captain."') == "Yes, captain."
    assert reply("hello", instructions="You are a helpful assistant.").startswith("Hello!")


def test_it_greets_when_there_is_no_message() -> None:
    assert isinstance(greeting := answer(AnswerContext([], "", NINE)), str)
    assert greeting.startswith("Hello!")


def test_sentences_join_to_the_text() -> None:
    assert "".join(sentences_of(story_text())) == story_text()
    assert sentences_of("One. Two!") == ["One.", " Two!"]


def test_numbers_are_read_as_they_are_written() -> None:
    for value in range(100):
        assert numbers_in(in_words(value)) == [value]
    assert numbers_in("five, ten and twenty three or 17") == [5, 10, 23, 17]
    assert numbers_in("twenty of three") == [20, 3]
