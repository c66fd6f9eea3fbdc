"""The command line of a service: `--help` lists its settings; unknown arguments are refused."""

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import PydanticUndefined

from services.runtime.process.settings import ServiceSettings


def parse_service(
    name: str,
    settings: type[ServiceSettings],
    arguments: Sequence[str],
    *,
    about: str,
    subcommands: Mapping[str, tuple[str, tuple[str, ...]]] | None = None,
) -> argparse.Namespace:
    """Return what ``arguments`` of `hushgate <name>` ask for; ``.subcommand`` is None to run the service.

    ``subcommands`` gives for each its help and its operands; one that ends in `...` may be repeated. `--help`
    prints all settings and ends the process with 0; an unknown argument ends it with 2.
    """
    parser = argparse.ArgumentParser(
        prog=f"hushgate {name}",
        description=about,
        epilog=_settings_text(settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(subcommand=None)
    if subcommands:
        choices = parser.add_subparsers(dest="subcommand", metavar="COMMAND")
        for subcommand, (text, operands) in subcommands.items():
            child = choices.add_parser(subcommand, help=text, description=text)
            for operand in operands:
                name = operand.removesuffix("...")
                child.add_argument(name.lower(), metavar=name, nargs="+" if operand.endswith("...") else None)
    return parser.parse_args(arguments)


def _settings_text(settings: type[ServiceSettings]) -> str:
    """All settings with their defaults and descriptions."""
    lines = ["settings, all from the environment:"]
    for field, info in settings.model_fields.items():
        lines.append(f"  {settings.env_name(field)}={_shown(info.get_default(call_default_factory=True))}")
        text = " ".join((info.description or "").split())
        lines += textwrap.wrap(text, 100, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


def _shown(default: Any) -> str:  # noqa: ANN401 - the default of any field
    if default is PydanticUndefined:
        return "(required)"
    return "" if default is None else str(default)
