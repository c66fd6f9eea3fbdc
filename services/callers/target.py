"""Finds the endpoint of the `hushgate up` on this machine, by its `up.json`."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.callers.endpoint_client import root
from services.callers.errors import CallerError


class NotRunningError(CallerError):
    """No `hushgate up` is running."""


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint and a key for it."""

    url: str
    key: str = field(repr=False)


def running_target(data: Path) -> Target:
    """Find the running `hushgate up` with the data directory ``data``.

    Raises:
        NotRunningError: none, or its file cannot be read.
    """
    path = data / "up.json"
    try:
        up = json.loads(path.read_text())
        return Target(up["url"], up["tenant_key"])
    except FileNotFoundError:
        raise NotRunningError(
            f"no {path}: start `hushgate up`, give the --data that it was started with, or --url and --key-file"
        ) from None
    except OSError as exc:
        raise NotRunningError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise NotRunningError(
            f"{path} is not what `hushgate up` writes: restart it, or give --url and --key-file"
        ) from exc


def key_of(file: Path | None) -> str | None:
    """Read the key from ``file``, ``-`` for standard input. A command-line argument would be visible to other users.

    Raises:
        CallerError: it cannot be read, or is empty.
    """
    try:
        if file is None:
            return None
        key = (sys.stdin.read() if str(file) == "-" else file.read_text()).strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise CallerError(f"--key-file {file} cannot be read: {exc}") from exc
    if not key:
        raise CallerError(f"--key-file {file} is empty: write the key into it")
    return key


def choose_target(url: str | None, key: str | None, data: Path) -> Target:
    """Choose the endpoint given on the command line; missing parts are those of the running `hushgate up`.

    Raises:
        NotRunningError: a part is missing, and no `hushgate up` runs.
        CallerError: another endpoint without a key for it.
    """
    if url and key:
        return Target(url, key)
    running = running_target(data)
    if url and root(url) != root(running.url):
        raise CallerError(f"{url} needs --key-file: the key of the running `hushgate up` is not for other endpoints")
    return Target(running.url, key or running.key)


def up_info(data: Path, url: str) -> dict[str, Any] | None:
    """Content of `up.json`, if ``url`` is the `hushgate up` with the data directory ``data``."""
    try:
        up = json.loads((data / "up.json").read_text())
        return dict(up) if root(up["url"]) == root(url) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # another endpoint
