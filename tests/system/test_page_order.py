"""The page's conversation stands in the order that `previous_item_id` says, after every event."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

CONVERSATION = Path(__file__).parents[2] / "services" / "signaling" / "console" / "js" / "conversation.js"
ORIGIN = "http://page.test"
APPLY = """
async (runs) => {
  const { Conversation } = await import("/conversation.js");
  return runs.map((events) => {
    const conversation = new Conversation();
    return events.map((event) => {
      conversation.apply(event);
      return conversation.lines.map(({ id }) => id);
    });
  });
}
"""
PageEvent = dict[str, Any]


@dataclass
class ServerModel:
    """An ordered list of items that changes at random, and the events that tell a client of it."""

    chance: random.Random
    order: list[str] = field(default_factory=list)
    number: int = 0
    spoken: str | None = None  # an utterance that is not committed

    def next(self) -> PageEvent:
        self.number += 1
        match self.chance.choice(["add", "add", "speak", "commit", "delete", "clear"]):
            case "speak":
                self.spoken = f"item_{self.number}"
                return {"type": "input_audio_buffer.speech_started", "item_id": self.spoken, "audio_start_ms": 0}
            case "commit" if self.spoken:
                spoken, self.spoken = self.spoken, None
                return {"type": "input_audio_buffer.committed", "item_id": spoken, **self.placed(spoken)}
            case "delete" if self.order:
                gone = self.order.pop(self.chance.randrange(len(self.order)))
                return {"type": "conversation.item.deleted", "item_id": gone}
            case "clear":
                self.spoken = None
                return {"type": "input_audio_buffer.cleared"}
            case _:
                new = f"item_{self.number}"
                content = [{"type": "input_text", "text": "x"}]
                item = {"id": new, "type": "message", "role": "user", "status": "completed", "content": content}
                return {"type": "conversation.item.added", "item": item, **self.placed(new)}

    def placed(self, new: str) -> dict[str, str | None]:
        place = self.chance.choice([0, len(self.order), self.chance.randint(0, len(self.order))])
        self.order.insert(place, new)
        return {"previous_item_id": self.order[place - 1] if place else None}


@pytest.mark.beside
async def test_the_lines_stand_as_the_events_say_after_each_of_them(browser: Browser) -> None:
    chance = random.Random(7)  # noqa: S311 - repeatable
    runs: list[list[PageEvent]] = []
    expected: list[list[tuple[list[str], str | None]]] = []
    for _ in range(200):
        model = ServerModel(chance)
        runs.append([])
        expected.append([])
        for _ in range(25):
            runs[-1].append(model.next())
            expected[-1].append(([*model.order], model.spoken))
    page = await browser.new_page()
    await page.route(f"{ORIGIN}/", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    await page.route(f"{ORIGIN}/conversation.js", lambda route: route.fulfill(path=CONVERSATION))
    await page.goto(f"{ORIGIN}/")
    for events, wanted, shown in zip(runs, expected, await page.evaluate(APPLY, runs), strict=True):
        for (order, spoken), lines in zip(wanted, shown, strict=True):
            assert [line for line in lines if line != spoken] == order, events
            assert (spoken in lines) == (spoken is not None), events
