"""Settings of each child process. A child's environment holds only the secrets that it needs."""

import json
from dataclasses import dataclass

from services.runtime.process.child import ChildSpec
from services.up.datadir import TENANT, DataDirectory
from services.up.nats_server import Identity, NatsServer
from services.up.options import UpOptions

DRAIN_S = 2
STOP_ORDER = (("signaling", "media"), ("upstream",), ("metering", "rehearsal"))


@dataclass(frozen=True, slots=True)
class SharedSettings:
    """Settings that several children share."""

    options: UpOptions
    data: DataDirectory
    nats: NatsServer
    metering_token: str
    page_secret: str
    """Secret that the page sends to get tokens, because other users of this machine reach loopback, too."""


def identities(options: UpOptions) -> list[Identity]:
    """Return the processes that connect to NATS."""
    media = [Identity("media", name) for name in _media_names(options)]
    return [Identity("metering", "metering-0"), *media, Identity("upstream", "upstream-0"), _SIGNALING]


_SIGNALING = Identity("signaling", "signaling-0")


def _media_names(options: UpOptions) -> list[str]:
    return [f"media-{number}" for number in range(options.media_processes)]


def _spec(shared: SharedSettings, command: str, settings: dict[str, str], *, name: str | None = None) -> ChildSpec:
    prefix, process = command.upper(), name or f"{command}-0"
    bus = {
        "NATS_URL": shared.nats.address,
        "NATS_USER": process,
        "NATS_PASSWORD_FILE": str(shared.nats.password_file(process)),
    }
    common = {
        "NATS_STORE_MB": str(shared.options.store_mb),
        "DATA_DIR": str(shared.data.path),
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": "0",
        "LOG_FORMAT": "json",
        "PROCESS_ID": process,
        **(bus if command != "rehearsal" else {}),
    }
    if shared.options.otlp_endpoint:
        common["OTLP_ENDPOINT"] = shared.options.otlp_endpoint
    environment = {f"{prefix}_{key}": value for key, value in {**common, **settings}.items()}
    return ChildSpec(name or command, command, environment, f"{prefix}_HTTP_PORT")


def metering(shared: SharedSettings) -> ChildSpec:
    """Return the specification of metering."""
    return _spec(shared, "metering", {"API_TOKEN": shared.metering_token})


def rehearsal(shared: SharedSettings) -> ChildSpec:
    """Return the specification of the rehearsal."""
    voice = shared.options.rehearsal_voice
    return _spec(shared, "rehearsal", {"VOICE": voice} if voice else {})


def upstream(shared: SharedSettings, url: str) -> ChildSpec:
    """Return the specification of the upstream worker; it probes the provider at start to report a wrong key or URL."""
    options = shared.options
    settings = {"URL": url, "PROVIDER": options.provider, "PROBE": "true", "DRAIN_TIMEOUT_S": str(DRAIN_S)}
    key = options.provider_key.get_secret_value() if options.upstream else ""
    return _spec(shared, "upstream", {**settings, **({"API_KEY": key} if key else {})})


def media(shared: SharedSettings) -> list[ChildSpec]:
    """Return the specifications of the media processes."""
    settings = {"ADVERTISED_ADDRESS": shared.options.advertise, "DRAIN_TIMEOUT_S": str(DRAIN_S)}
    return [_spec(shared, "media", settings, name=name) for name in _media_names(shared.options)]


def signaling(shared: SharedSettings, *, metering_url: str) -> ChildSpec:
    """Return the specification of signaling, with the demo page enabled."""
    options = shared.options
    settings = {
        "HTTP_HOST": options.host,
        "HTTP_PORT": str(options.port),
        "TENANTS_FILE": str(shared.data.tenants_file),
        "METERING_URL": metering_url,
        "METERING_TOKEN": shared.metering_token,
        "DEMO_TENANT": TENANT,
        "PAGE_SECRET": shared.page_secret,
        "PROVIDER": options.provider,
        "PROVIDERS": json.dumps([options.provider]),
        "CHARGED": "false" if options.upstream is None else "true",
    }
    tls = {"TLS_CERT": options.tls_cert, "TLS_KEY": options.tls_key}
    return _spec(shared, "signaling", {**settings, **{key: str(file) for key, file in tls.items() if file}})
