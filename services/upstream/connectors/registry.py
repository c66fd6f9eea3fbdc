"""Which wire a provider speaks. A new wire is a file beside this one and a line here."""

from collections.abc import Callable

from pydantic import SecretStr

from services.upstream.connectors.base import Connector
from services.upstream.connectors.openai import OpenAIConnector

WIRES: dict[str, Callable[[str, SecretStr], Connector]] = {
    "openai": OpenAIConnector,
}
_DEFAULT = "openai"
"""Azure, LocalAI, vLLM, the rehearsal: who is not listed speaks the most common one."""


def connector(provider: str, *, url: str, key: SecretStr) -> Connector:
    """What opens sessions with ``provider``."""
    return WIRES.get(provider, WIRES[_DEFAULT])(url, key)
