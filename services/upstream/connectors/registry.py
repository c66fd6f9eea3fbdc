"""Which connector a provider needs. A new provider protocol is a module beside this one and a line here."""

from collections.abc import Callable

from pydantic import SecretStr

from services.upstream.connectors.base import Connector
from services.upstream.connectors.openai import OpenAIConnector

WIRES: dict[str, Callable[[str, SecretStr], Connector]] = {
    "openai": OpenAIConnector,
}
_DEFAULT = "openai"
"""For providers that are not listed (Azure, LocalAI, vLLM, the rehearsal): the most common protocol."""


def connector(provider: str, *, url: str, key: SecretStr) -> Connector:
    """Return the connector for ``provider`` at ``url``; an unlisted provider gets the default one."""
    return WIRES.get(provider, WIRES[_DEFAULT])(url, key)
