"""What of a conversation is kept for the next session with the provider is bounded."""

from services.upstream.core.item_registry import ItemRegistry


def test_what_is_too_large_to_be_repeated_is_not_kept_and_the_rest_is_repeated() -> None:
    registry = ItemRegistry()
    for number, size in enumerate([10, 300_000, 20]):
        registry.append(f"item_{number}")
        registry.store_content(f"item_{number}", {"type": "message", "text": "x" * size})
    assert [item["text"] for item in registry.begin_new_session()] == ["x" * 10, "x" * 20]


def test_only_the_newest_contents_are_kept() -> None:
    registry = ItemRegistry()
    for number in range(30):
        registry.append(f"item_{number}")
        registry.store_content(f"item_{number}", {"text": "x" * 100_000})
        registry.store_content(f"item_{number}", {"text": "y" * 100_000})
    assert len(registry._contents) == 5  # noqa: SLF001 - what it holds
    registry.remove("item_29")
    assert registry._content_chars == 4 * 100_004  # noqa: SLF001
