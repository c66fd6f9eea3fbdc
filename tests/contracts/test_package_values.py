"""What the provider's package allows is accepted, value by value, but for what is listed here."""

from collections.abc import Callable

import pytest
from openai.types.realtime import ConversationItem, RealtimeResponseCreateParams, RealtimeSessionCreateRequest

from services.contracts.session.fields import SessionConfig
from services.contracts.session.merge import merge_sessions
from services.contracts.session.parse import InvalidSessionError, parse_response, parse_session
from services.contracts.session.parse_item import check_item
from tests.contracts.package_values import values_of

FORMAT = ("format.type",)  # G.711, and a format without a type
TOOLS = ("tools[0]", "tools[0].type", "tools[0].name")  # a tool without a type or an address, a function without a name
REFUSED = {
    "session": {f"session.{path}" for path in TOOLS}
    | {f"session.audio.{way}.{path}" for way in ("input", "output") for path in FORMAT},
    "response": {f"response.{path}" for path in TOOLS} | {"response.audio.output.format.type", "response.conversation"},
    "item": {f"item.content[0].{name}" for name in ("type", "text", "image_url", "audio", "transcript")},
}
"""By their paths. The provider refuses them too, except for G.711, which no call here has."""


def parse_without_nulls(session: SessionConfig) -> SessionConfig:
    """Parse a session without the nulls that change nothing: the package's types of what it reads have null in all."""
    return parse_session(merge_sessions({}, session))


@pytest.mark.parametrize(
    ("root", "kind", "check"),
    [
        ("session", RealtimeSessionCreateRequest, parse_without_nulls),
        ("response", RealtimeResponseCreateParams, parse_response),
        ("item", ConversationItem, check_item),
    ],
)
def test_every_value_of_the_package_is_accepted(
    root: str, kind: object, check: Callable[[SessionConfig], object]
) -> None:
    refused: dict[str, object] = {}
    values = list(values_of(kind))
    assert len(values) > 100
    for value in values:
        assert isinstance(value, dict)
        try:
            check(value)
        except InvalidSessionError as exc:
            refused[exc.param] = value
    assert refused.keys() == REFUSED[root], refused
