"""The rehearsal's answers, chosen by keywords and their sound-alikes: its recogniser is a small one."""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.rehearsal.core.functions import FunctionCall, choose, spoken_result
from services.rehearsal.core.items import ConversationItem, FunctionCallItem, FunctionOutputItem, MessageItem
from services.rehearsal.core.numbers import in_words, numbers_in
from services.rehearsal.core.story import story_text
from services.rehearsal.core.tool_fields import Tool, ToolChoice

RECORDED_PROMPT = "This is the recorded voice of the rehearsal. Here is what you said."
"""The text of the recorded asset, word for word."""

_SIMILAR = 0.79
_DEFAULT_COUNT = 10
_HIGHEST_COUNT = 99
_BRIEF_WORDS = 5
_COUNT_ALIKE = re.compile(
    r"\b(?:count|counting|account|can't|down|come|found|don't|town) (?:up )?(?:to|two|too|till)\b"
)
_QUOTED = re.compile(r"\b(?:say|greet|repeat|answer|reply)\b[^\"“\n]{0,60}[\"“]([^\"”\n]{1,400})[\"”]", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")

_NOT_UNDERSTOOD = "Sorry, I did not catch that. Could you say it again?"
_GREETING = "Hello! You are talking to the rehearsal. Ask me for the time, or for a long story."


@dataclass(frozen=True, slots=True)
class AnswerContext:
    """Input of `answer`. ``local_time`` is the server's."""

    items: Sequence[ConversationItem]
    instructions: str
    local_time: datetime
    tools: Sequence[Tool] = field(default_factory=tuple)
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = False


def sentences_of(text: str) -> list[str]:
    """Split into sentences; they join to ``text`` again, with a space at the start of all but the first."""
    first, *others = _SENTENCE.split(text.strip())
    return [first, *(f" {sentence}" for sentence in others)]


@dataclass(frozen=True, slots=True)
class UnrecognisedSpeech:
    """The caller spoke, and the words are unknown. ``text``: the answer if there is no recorded one."""

    text: str = _NOT_UNDERSTOOD


def answer(context: AnswerContext) -> str | tuple[FunctionCall, ...] | UnrecognisedSpeech:
    """Return the next answer, or the functions to call."""
    results = _newest_results(context.items)
    if results:
        return " ".join(results)
    request = _newest_request(context.items)
    heard = request.text if request else None
    called = choose(heard or "", context.tools, context.tool_choice, parallel=context.parallel_tool_calls)
    if called:
        return called
    quoted = _QUOTED.search(context.instructions)
    if quoted:
        return quoted.group(1)
    if heard is None:
        return _GREETING
    if request and request.unheard:
        return UnrecognisedSpeech()
    return _reply(heard, context.local_time)


def _newest_results(items: Sequence[ConversationItem]) -> list[str]:
    """The results of functions at the end of the conversation, in words."""
    results: list[str] = []
    for item in reversed(items):
        if not isinstance(item, FunctionOutputItem):
            break
        results.insert(0, _result_of(item, items))
    return results


def _result_of(output: FunctionOutputItem, items: Sequence[ConversationItem]) -> str:
    calls = (item for item in items if isinstance(item, FunctionCallItem) and item.call_id == output.call_id)
    return spoken_result(next((call.name for call in calls), "the function"), output.output)


def _newest_request(items: Sequence[ConversationItem]) -> MessageItem | None:
    """The caller's last message; None: nothing yet in this conversation."""
    for item in reversed(items):
        if isinstance(item, MessageItem) and item.role == "user":
            return item
    return None


def _normal(text: str) -> str:
    return " ".join(re.sub(r"[^a-z0-9' -]", " ", text.lower()).split())


def _sounds_like(text: str, word: str) -> bool:
    return any(difflib.SequenceMatcher(None, heard, word).ratio() >= _SIMILAR for heard in text.split())


def _reply(heard: str, local_time: datetime) -> str:
    text = _normal(heard)
    if not text:
        return _NOT_UNDERSTOOD
    repeated = f"You said: {heard.strip().rstrip('.')}."
    return next((say(text, local_time) for asks, say in _TOPICS if asks(text)), repeated)


def _asks_to_count(text: str) -> bool:
    return bool(numbers_in(text) and _COUNT_ALIKE.search(text)) or "count" in text.split()


def _count(text: str, _: datetime) -> str:
    numbers = numbers_in(_COUNT_ALIKE.sub(" ", text))
    last = min(max(numbers[-1], 1), _HIGHEST_COUNT) if numbers else _DEFAULT_COUNT
    counted = ", ".join(in_words(number) for number in range(1, last + 1))
    return f"{counted.capitalize()}. That was {in_words(last)}."


def _asks_for_story(text: str) -> bool:
    words = set(text.split())
    return bool(words & {"story", "stories", "tale"}) or ("tell" in words and _sounds_like(text, "story"))


def _time(_: str, local_time: datetime) -> str:
    half = "AM" if local_time.hour < 12 else "PM"  # noqa: PLR2004 - noon
    hour = in_words(local_time.hour % 12 or 12)
    if local_time.minute == 0:
        return f"It is {hour} o'clock {half}."
    minute = in_words(local_time.minute)
    return f"It is {hour} {'oh ' if local_time.minute < 10 else ''}{minute} {half}."  # noqa: PLR2004 - one digit


def _has(*words: str) -> Callable[[str], bool]:
    return lambda text: any(f" {word} " in f" {text} " for word in words)


def _brief(*words: str) -> Callable[[str], bool]:
    """Match only the whole text: a longer sentence with such a word is about something else."""
    return lambda text: len(text.split()) <= _BRIEF_WORDS and _has(*words)(text)


def _fixed(text: str) -> Callable[[str, datetime], str]:
    return lambda _text, _time: text


_TOPICS: tuple[tuple[Callable[[str], bool], Callable[[str, datetime], str]], ...] = (
    (_asks_to_count, _count),
    (_asks_for_story, lambda _text, _time: story_text()),
    (
        _has("what time", "the time", "time is it", "time it is", "what's the time", "tell time", "clock"),
        _time,
    ),
    (
        lambda text: _has("weather", "rain", "raining", "sunny", "temperature")(text) or _sounds_like(text, "weather"),
        _fixed("I have no window here, so I can only guess about the weather. Let us say it is mild, with a kind sky."),
    ),
    (
        _brief("goodbye", "bye", "good bye", "good night", "farewell", "see you"),
        _fixed("Goodbye! Nice to talk to you."),
    ),
    (
        _brief("stop", "be quiet", "shut up", "enough", "hold on"),
        _fixed("All right, I am quiet. Just speak when you want me."),
    ),
    (
        _has("your name", "who are you", "what are you"),
        _fixed("I am the rehearsal: a small voice on your own machine, in place of a provider."),
    ),
    (
        _brief("what can you do", "help", "help me"),
        _fixed("I tell the time, I count, I tell a long story, and I repeat what I hear."),
    ),
    (_has("how are you", "how do you do"), _fixed("I am well, thank you. And how are you?")),
    (
        _brief("hello", "hi", "hey", "good morning", "good evening", "good afternoon"),
        _fixed("Hello! Yes, I can hear you."),
    ),
    (_brief("thank you", "thanks"), _fixed("You are welcome.")),
)
