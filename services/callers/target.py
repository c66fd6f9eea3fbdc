"""Where to call: the endpoint that `hushgate up` runs on this machine, by its `up.json`."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from services.callers.errors import CallerError


class NothingRunsError(CallerError):
    """There is no `hushgate up` to call."""


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint and the key to it."""

    url: str
    key: str = field(repr=False)


def running_target(data: Path) -> Target:
    """The running `hushgate up` with the data directory ``data``.

    Raises:
        NothingRunsError: none, or its file cannot be read.
    """
    path = data / "up.json"
    try:
        up = json.loads(path.read_text())
        return Target(up["url"], up["tenant_key"])
    except FileNotFoundError:
        raise NothingRunsError(f"no {path}: start `hushgate up`, or give --url and --key") from None
    except OSError as exc:
        raise NothingRunsError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise NothingRunsError(f"{path} is not what `hushgate up` writes: restart it, or give --url and --key") from exc
