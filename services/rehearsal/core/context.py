"""The part of the conversation that is input to a response: the newest items, when it has become too long."""

from collections.abc import Sequence

from services.rehearsal.core.config import MAX_CONTEXT_TOKENS, RetentionRatio, Truncation
from services.rehearsal.core.items import ConversationItem


class ContextTooLongError(Exception):
    """The conversation is longer than the model's input, and the session forbids to drop items."""


class ContextWindow:
    """Drops the oldest items of a session's conversation. What was dropped stays dropped, so that caching works."""

    def __init__(self) -> None:
        self._dropped: set[str] = set()

    def fit(
        self, items: Sequence[ConversationItem], *, truncation: Truncation, preamble_tokens: int
    ) -> list[ConversationItem]:
        """Return the items that are input. ``preamble_tokens``: those of instructions and tools.

        Raises:
            ContextTooLongError: they are too long, and ``truncation`` is `disabled`.
        """
        limit = max(0, MAX_CONTEXT_TOKENS - preamble_tokens)
        kept = limit
        if isinstance(truncation, RetentionRatio):
            limit = min(limit, truncation.token_limits.post_instructions)
            kept = int(limit * truncation.retention_ratio)
        left = [item for item in items if item.id not in self._dropped]
        total = sum(item.tokens().total for item in left)
        if total <= limit:
            return left
        if truncation == "disabled":
            raise ContextTooLongError
        while left and total > kept:
            oldest = left.pop(0)
            self._dropped.add(oldest.id)
            total -= oldest.tokens().total
        return left
