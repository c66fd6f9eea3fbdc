"""The merged log of all children: coloured text or JSON lines."""

import json
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from services.runtime import clock
from services.runtime.telemetry.logging import LogFormat
from services.runtime.telemetry.redaction import escape_controls

_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")
_LEVELS = {"warning": "yellow", "error": "bold red", "critical": "bold red", "debug": "dim"}
_HIDDEN = frozenset({"timestamp", "level", "event", "service", "exception"})
_NAME_WIDTH = 10


class LogConsole:
    """Writes one line per event to ``stream``; default stderr, as stdout is for the output of `up` itself."""

    def __init__(self, log_format: LogFormat, stream: TextIO | None = None) -> None:
        self._json = log_format == "json"
        self._out = stream or sys.stderr
        self._rich = Console(file=self._out, highlight=False, soft_wrap=True)
        self._colour: dict[str, str] = {}

    def write_child_event(self, service: str, event: Mapping[str, Any], /) -> None:
        """Write an event that ``service`` logged."""
        if self._json:
            self._out.write(json.dumps({**event, "service": service}, default=str) + "\n")
            self._out.flush()
            return
        colour = self._colour.setdefault(service, _COLOURS[len(self._colour) % len(_COLOURS)])
        line = Text(f"{escape_controls(str(event.get('timestamp', '')))[11:19]} ", style="dim")
        line.append(f"{service:<{_NAME_WIDTH}} ", style=colour)
        line.append(escape_controls(str(event.get("event", ""))), style=_LEVELS.get(str(event.get("level")), ""))
        for key, value in event.items():
            if key not in _HIDDEN:
                line.append(f" {escape_controls(key)}=", style="dim").append(escape_controls(str(value)))
        self._rich.print(line)
        if "exception" in event:
            self._rich.print(Text(escape_controls(str(event["exception"]), keep="\n\t"), style="red"))

    def write_event(self, event: str, /, *, level: str = "info", **fields: object) -> None:
        """Write an event of `up` itself."""
        self.write_child_event(
            "up", {"event": event, "level": level, **fields, "timestamp": clock.utc_now().isoformat()}
        )
