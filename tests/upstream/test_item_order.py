"""Where items stand: requested anywhere, confirmed late, in other order or never."""

from collections.abc import Callable

import pytest

from services.upstream.core.item_order import ROOT, ItemOrder
from services.upstream.core.item_registry import MAX_ITEMS, ItemRegistry

Step = Callable[[ItemOrder], object]


def ask(item_id: str, behind: str | None = None) -> Step:
    return lambda order: order.reserve(item_id, behind=behind)


def confirm(item_id: str, previous: str | None = None) -> Step:
    return lambda order: order.confirm(item_id, previous=previous)


def answer(item_id: str, as_of: int | None = None) -> Step:
    return lambda order: order.append(item_id, as_of=as_of)


def show(item_id: str) -> Step:
    return lambda order: order.show(item_id)


def remove(item_id: str) -> Step:
    return lambda order: order.remove(item_id)


def renew(*repeated: str) -> Step:
    return lambda order: order.begin_new_session(repeated)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([ask("a"), ask("b"), ask("r", ROOT), ask("m", "a")], "r a m b", id="anywhere"),
        pytest.param([ask("a"), ask("x", "a"), ask("y", "a")], "a y x", id="twice behind the same"),
        pytest.param([ask("a"), ask("b"), confirm("b"), confirm("a")], "a b", id="confirmed in other order"),
        pytest.param([ask("a"), ask("b"), remove("a"), remove("a"), confirm("a")], "b", id="refused"),
        pytest.param([ask("a"), ask("b"), confirm("b", "gone"), confirm("b", "b")], "a b", id="behind unknown items"),
        # the provider puts an item elsewhere: only its first confirmation counts
        pytest.param([ask("a"), ask("b"), ask("c"), confirm("b"), confirm("c", "a")], "a c b", id="elsewhere"),
        pytest.param([ask("a"), ask("b"), ask("c"), confirm("c", "b"), confirm("b")], "a b c", id="behind one it has"),
        pytest.param(
            [ask("a"), ask("b"), confirm("b"), ask("m", "a"), confirm("m"), confirm("b", "a")], "a m b", id="late"
        ),
        pytest.param(
            [ask("a"), ask("b"), ask("x", "a"), ask("c"), confirm("b"), confirm("c", "a")], "a x c b", id="anchored"
        ),
        # what the provider adds stands before what it has not got yet
        pytest.param([ask("a"), confirm("a"), ask("b"), answer("A", 1)], "a A b", id="answer before a later request"),
        pytest.param([ask("a"), ask("b"), answer("A", 2)], "a b A", id="answer behind earlier requests"),
        pytest.param([ask("a"), confirm("a"), ask("x", "a"), answer("A", 1)], "a x A", id="an anchor keeps its items"),
        pytest.param(
            [ask("a"), confirm("a"), ask("x", "a"), ask("b"), ask("y", "b"), answer("A", 1)], "a x A b y", id="both"
        ),
        pytest.param([ask("r", ROOT), answer("A", 0)], "r A", id="the beginning is an anchor"),
        pytest.param([ask("u"), show("u"), ask("b"), answer("A")], "u A b", id="answer to nothing"),
        # a new session lacks what is not repeated
        pytest.param([ask("a"), ask("b"), renew("a"), ask("c"), answer("A", 3)], "a b A c", id="a new session"),
        pytest.param(
            [ask("a"), ask("u"), ask("b"), renew("a", "b"), confirm("a"), confirm("b", "a")], "a u b", id="absent"
        ),
        pytest.param(
            [ask("a"), ask("u"), renew("a"), confirm("a"), answer("A"), confirm("A", "a")], "a u A", id="after"
        ),
        pytest.param(
            [ask("a"), ask("b"), ask("u"), renew("a", "b"), confirm("a"), confirm("b"), ask("c"), confirm("c", "a")],
            "a c b u",
            id="moved in a new session",
        ),
        pytest.param(
            [ask("a"), ask("u", "a"), ask("b"), renew("a", "b"), confirm("b"), ask("c"), confirm("c", "a")],
            "a u c b",
            id="moved behind what is absent",
        ),
    ],
)
def test_the_order_is_that_of_the_requests(steps: list[Step], expected: str) -> None:
    order = ItemOrder()
    for step in steps:
        step(order)
    assert list(order) == expected.split()


def test_the_client_is_told_the_nearest_item_that_it_knows() -> None:
    order = ItemOrder()
    for item_id in ("a", "b", "c"):
        order.reserve(item_id)
    assert order.show("c") is None
    assert order.show("b") is None
    assert (order.previous("c"), order.previous("a"), order.previous("gone")) == ("b", None, None)
    order.remove("b")
    assert order.previous("c") is None


def test_the_provider_is_told_the_nearest_item_that_it_has() -> None:
    order = ItemOrder()
    for item_id in ("u", "a", "b"):
        order.reserve(item_id)
    assert [order.provider_anchor(item_id) for item_id in (ROOT, "u", "b")] == [None, "u", "b"]
    order.begin_new_session(["a"])
    assert [order.provider_anchor(item_id) for item_id in (ROOT, "u", "a", "b")] == [None, None, "a", "a"]
    order.lose("a")
    assert order.provider_anchor("b") is None
    assert [order.is_absent(item_id) for item_id in ("a", "gone")] == [True, False]


def conversation(count: int) -> ItemRegistry:
    items = ItemRegistry()
    for number in range(count):
        items.append(f"item_{number}")
        items.add(f"item_{number}")
    return items


def test_the_first_items_of_a_long_conversation_are_dropped_and_the_order_stays() -> None:
    items = conversation(MAX_ITEMS + 2)
    assert "item_1" not in items
    assert list(items.order)[:2] == ["item_1", "item_2"], "the place of the last one that was dropped"
    assert items.order.previous("item_2") == "item_1"
    items.reserve("m", behind="item_1")
    assert items.add("m") == "item_1"
    assert items.order.previous("item_3") == "item_2", "dropped for it"
    items.append("next")
    assert list(items.order)[:2] == ["item_2", "item_3"]


def test_an_item_at_the_beginning_of_a_long_conversation_is_dropped_first() -> None:
    items = conversation(MAX_ITEMS + 1)
    items.reserve("r", behind=ROOT)
    assert items.add("r") is None
    assert list(items.order)[:3] == ["r", "item_1", "item_2"]
    items.append("next")
    assert list(items.order)[:2] == ["item_1", "item_2"]
    assert "r" not in items


def test_items_that_the_client_does_not_know_are_dropped_last() -> None:
    items = ItemRegistry()
    items.append("hidden")
    for number in range(MAX_ITEMS):
        items.append(f"item_{number}")
        items.add(f"item_{number}")
    assert ("hidden" in items, "item_0" in items) == (True, False)
    hidden = ItemRegistry()
    for number in range(MAX_ITEMS + 1):
        hidden.append(f"item_{number}")
    assert "item_0" not in hidden


def test_an_item_is_added_once() -> None:
    items = conversation(2)
    items.append("item_0")
    assert list(items.order) == ["item_0", "item_1"]
