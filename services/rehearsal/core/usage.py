"""Usage of a response: the whole conversation is its input; a prefix that was input before is cached."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.rehearsal.core.commands import Json
from services.rehearsal.core.items import ConversationItem, TokenCount, text_tokens

_START = 0
_Key = tuple[str, TokenCount]


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one response. ``cached`` is a part of ``given``."""

    given: TokenCount
    cached: TokenCount
    made: TokenCount

    def as_json(self) -> Json:
        """The `usage` object of a response."""
        return {
            "total_tokens": self.given.total + self.made.total,
            "input_tokens": self.given.total,
            "output_tokens": self.made.total,
            "input_token_details": {
                "text_tokens": self.given.text,
                "audio_tokens": self.given.audio,
                "image_tokens": self.given.image,
                "cached_tokens": self.cached.total,
                "cached_tokens_details": {
                    "text_tokens": self.cached.text,
                    "audio_tokens": self.cached.audio,
                    "image_tokens": self.cached.image,
                },
            },
            "output_token_details": {"text_tokens": self.made.text, "audio_tokens": self.made.audio},
        }


class PromptCache:
    """Stores every prefix that was input to a response of this session, as a tree."""

    def __init__(self) -> None:
        self._tree: dict[tuple[int, _Key], int] = {}

    def input_of(self, preamble: str, items: Sequence[ConversationItem]) -> tuple[TokenCount, TokenCount]:
        """Tokens of this input, and how many of them are cached; adds the input to the cache.

        ``preamble``: instructions and tools, which come before the items.
        """
        keys: list[_Key] = [(preamble, TokenCount(text=text_tokens(preamble)))]
        keys += [(item.id, item.tokens()) for item in items]
        given, cached, node = TokenCount(), TokenCount(), _START
        for key in keys:
            known = self._tree.get((node, key))
            given += key[1]
            # New nodes have no children, so nothing after the first new one is found.
            if known is not None:
                cached += key[1]
            node = self._tree.setdefault((node, key), len(self._tree) + 1)
        return given, cached
