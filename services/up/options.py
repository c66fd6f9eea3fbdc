"""Command-line options of `hushgate up`, checked before anything starts."""

import argparse
import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.rehearsal.core.answers import AnswersName
from services.runtime.bus.streams import DEFAULT_STORE_MB, MAX_STORE_MB, MIN_STORE_MB
from services.runtime.errors import HushgateError
from services.runtime.process.settings import collector_url
from services.runtime.telemetry.logging import LogFormat

OPENAI_URL = "wss://api.openai.com/v1/realtime"
_PROVIDERS = {"api.openai.com": "openai", "api.x.ai": "xai"}
"""Provider name by host, which selects the price book; any other host is `custom` and its usage unpriced."""


class OptionError(HushgateError):
    """The command line is contradictory or names something that does not exist."""


class _ProviderKey(BaseSettings):
    model_config = SettingsConfigDict(hide_input_in_errors=True, extra="ignore")

    openai_api_key: SecretStr = SecretStr("")


@dataclass(frozen=True, slots=True)
class Provider:
    """The provider's URL and key. ``url`` None: the rehearsal."""

    url: str | None
    key: SecretStr


_MAX_DEFAULT_MEDIA = 4


def default_media_processes() -> int:
    """Return the default number of media processes: one per available core, at most `_MAX_DEFAULT_MEDIA`."""
    return min(_MAX_DEFAULT_MEDIA, len(os.sched_getaffinity(0)))


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The validated command line, and the provider's key."""

    host: str
    port: int
    data: Path
    upstream: str | None
    """Realtime URL of the provider; None: the rehearsal."""
    provider: str
    provider_key: SecretStr
    media_processes: int
    store_mb: int
    """Maximum size in MiB of all streams and buckets."""
    advertise: str
    """Addresses at which browsers reach media, in the form of MEDIA_ADVERTISED_ADDRESS."""
    public_host: str
    """Host of the page's URL if ``host`` is the unspecified address, which browsers cannot open."""
    log_format: LogFormat
    tls_cert: Path | None
    tls_key: Path | None
    otlp_endpoint: str
    """URL of the trace collector; empty: no traces."""
    rehearsal_voice: AnswersName | None
    """How the rehearsal answers speech; None: REHEARSAL_VOICE, else `full`."""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; docs/up.md has a row for each option."""
    parser = argparse.ArgumentParser(
        prog="hushgate up",
        description="Run everything on this machine, with the page.",
        epilog="OPENAI_API_KEY in the environment: the provider's key. More: docs/up.md.",
        allow_abbrev=False,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on; other than loopback needs TLS")
    parser.add_argument("--port", type=int, default=8080, help="port of the page and the API; 0 takes a free one")
    parser.add_argument(
        "--data", type=Path, default=Path(".hushgate"), help="directory of keys, streams and the ledger"
    )
    parser.add_argument("--upstream", metavar="URL", help="Realtime API to use instead of the rehearsal")
    parser.add_argument(
        "--rehearsal-voice",
        choices=get_args(AnswersName),
        help="how the rehearsal answers speech: full recognises it (the default), light gives recorded answers of "
        "natural length at a fraction of the CPU, echo gives the caller's own audio back",
    )
    parser.add_argument(
        "--media-processes",
        type=int,
        default=default_media_processes(),
        metavar="N",
        help=f"each uses a core (default: one per available core, at most {_MAX_DEFAULT_MEDIA}; here %(default)s)",
    )
    parser.add_argument(
        "--store-mb",
        type=int,
        default=DEFAULT_STORE_MB,
        metavar="MIB",
        help=f"size of JetStream's store on disk (default: {DEFAULT_STORE_MB})",
    )
    parser.add_argument(
        "--advertise",
        metavar="IP[,IP...]",
        help="addresses at which browsers reach the media, the best first; `loopback` and `interfaces` stand for those"
        " of this machine (default: both, or what --host says; `loopback` keeps media on this machine)",
    )
    parser.add_argument("--otlp-endpoint", metavar="URL", default="", help="collector of traces (OTLP over HTTP)")
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="format of the log on stderr")
    parser.add_argument("--tls-cert", type=Path, metavar="PEM", help="certificate of the page and the API: https")
    parser.add_argument("--tls-key", type=Path, metavar="PEM", help="its key")
    return parser


def parse(arguments: Sequence[str]) -> UpOptions:
    """Parse and validate the command line.

    Raises:
        OptionError: an invalid value or combination.
    """
    args = make_parser().parse_args(arguments)
    if not 0 <= args.port <= 65535:  # noqa: PLR2004 - TCP's ports
        raise OptionError(f"--port {args.port} is no port: give 0 to 65535")
    if not 1 <= args.media_processes <= 64:  # noqa: PLR2004 - more than any machine has cores for
        raise OptionError(f"--media-processes {args.media_processes}: give 1 to 64")
    if not MIN_STORE_MB <= args.store_mb <= MAX_STORE_MB:
        raise OptionError(f"--store-mb {args.store_mb}: give {MIN_STORE_MB} to {MAX_STORE_MB}")
    _check_tls(args.host, args.tls_cert, args.tls_key)
    provider = provider_of(args.upstream)
    url = provider.url
    if url and args.rehearsal_voice:
        asked = "--upstream" if args.upstream else "OPENAI_API_KEY"
        raise OptionError(
            f"--rehearsal-voice has no effect with {asked}: another provider answers, leave one of them out"
        )
    return UpOptions(
        host=args.host,
        port=args.port,
        data=args.data,
        upstream=url,
        provider=_PROVIDERS.get(urlsplit(url).hostname or "", "custom") if url else "rehearsal",
        provider_key=provider.key,
        media_processes=args.media_processes,
        store_mb=args.store_mb,
        advertise=args.advertise or advertised(args.host),
        public_host=_public_host(args.host, args.advertise),
        log_format=args.log_format,
        tls_cert=args.tls_cert,
        tls_key=args.tls_key,
        otlp_endpoint=_collector(args.otlp_endpoint),
        rehearsal_voice=args.rehearsal_voice,
    )


def provider_of(upstream: str | None) -> Provider:
    """Return the provider at ``upstream``; without it OpenAI if the environment holds its key, else the rehearsal.

    Raises:
        OptionError: ``upstream`` is not a URL.
    """
    key = _ProviderKey().openai_api_key
    chosen = upstream or (OPENAI_URL if key.get_secret_value() else None)
    return Provider(realtime_url(chosen) if chosen else None, key)


def _collector(url: str) -> str:
    try:
        return collector_url(url) if url else ""
    except ValueError as exc:
        raise OptionError(f"--otlp-endpoint: {exc}") from exc


def _check_tls(host: str, cert: Path | None, key: Path | None) -> None:
    if (cert is None) != (key is None):
        raise OptionError("--tls-cert and --tls-key belong together: give both")
    if cert is None and not is_loopback(host):
        raise OptionError(
            f"--host {host} needs --tls-cert and --tls-key: a browser gives no microphone to plain http elsewhere"
        )
    for path in (cert, key):
        if path is not None and not path.is_file():
            raise OptionError(f"{path} is not a file: give the certificate and its key in PEM")


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is a loopback address or name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def realtime_url(text: str) -> str:
    """Return a provider's URL as a WebSocket URL; an empty path becomes that of the Realtime API.

    Raises:
        OptionError: not an http, https, ws or wss URL.
    """
    parts = urlsplit(text)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise OptionError(f"--upstream {text!r} is no URL of a Realtime API: give for example {OPENAI_URL}")
    path = parts.path if parts.path.strip("/") else "/v1/realtime"
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))


def advertised(host: str) -> str:
    """Return the addresses to advertise for media to browsers that open the page at ``host``.

    A page on loopback needs the other addresses, too: Firefox does not pair its candidates with loopback.
    """
    if is_loopback(host):
        return "loopback,interfaces"
    try:
        return "interfaces" if ipaddress.ip_address(host).is_unspecified else host
    except ValueError:
        return "interfaces"  # a host name: it may resolve to any of them


def _public_host(host: str, advertise: str | None) -> str:
    given = [entry for entry in (advertise or "").split(",") if entry not in ("", "loopback", "interfaces")]
    if given or not _is_unspecified(host):
        return given[0] if given else host
    # Connecting a UDP socket sends nothing; the kernel names the address of the default route.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError as exc:
            raise OptionError(f"cannot find this machine's address ({exc.strerror}): give it with --advertise") from exc


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
