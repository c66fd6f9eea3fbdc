"""Which child gets which settings. Secrets go by environment, to the children that need them and no other."""

from dataclasses import dataclass

from services.runtime.child import ChildSpec
from services.up.datadir import TENANT, DataDirectory
from services.up.options import UpOptions

DRAIN_S = 2
STOP_ORDER = (("signaling", "media"), ("upstream",), ("metering", "rehearsal"))


@dataclass(frozen=True, slots=True)
class Shared:
    """What several children are told."""

    options: UpOptions
    data: DataDirectory
    nats_url: str
    metering_token: str
    page_secret: str
    """What the page must know to get tokens: other users of this machine reach loopback, too."""


def _spec(shared: Shared, command: str, settings: dict[str, str], *, name: str | None = None) -> ChildSpec:
    prefix = command.upper()
    common = {
        "NATS_URL": shared.nats_url,
        "NATS_STORE_MB": str(shared.options.store_mb),
        "DATA_DIR": str(shared.data.path),
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": "0",
        "LOG_FORMAT": "json",
        "PROCESS_ID": name or f"{command}-0",
    }
    if shared.options.otlp_endpoint:
        common["OTLP_ENDPOINT"] = shared.options.otlp_endpoint
    environment = {f"{prefix}_{key}": value for key, value in {**common, **settings}.items()}
    return ChildSpec(name or command, command, environment, f"{prefix}_HTTP_PORT")


def metering(shared: Shared) -> ChildSpec:
    """The ledger."""
    return _spec(shared, "metering", {"API_TOKEN": shared.metering_token})


def rehearsal(shared: Shared) -> ChildSpec:
    """The embedded provider."""
    voice = shared.options.rehearsal_voice
    return _spec(shared, "rehearsal", {"VOICE": voice} if voice else {})


def upstream(shared: Shared, url: str) -> ChildSpec:
    """The worker; it tries the provider first, so that a wrong key or address is told at once."""
    options = shared.options
    settings = {"URL": url, "PROVIDER": options.provider, "PROBE": "true", "DRAIN_TIMEOUT_S": str(DRAIN_S)}
    key = options.provider_key.get_secret_value() if options.upstream else ""
    return _spec(shared, "upstream", {**settings, **({"API_KEY": key} if key else {})})


def media(shared: Shared) -> list[ChildSpec]:
    """The media processes."""
    settings = {"ADVERTISED_ADDRESS": shared.options.advertise, "DRAIN_TIMEOUT_S": str(DRAIN_S)}
    return [_spec(shared, "media", settings, name=f"media-{n}") for n in range(shared.options.media_processes)]


def signaling(shared: Shared, *, metering_url: str) -> ChildSpec:
    """The public door, with the demo page on."""
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
        "CHARGED": "false" if options.upstream is None else "true",
    }
    tls = {"TLS_CERT": options.tls_cert, "TLS_KEY": options.tls_key}
    return _spec(shared, "signaling", {**settings, **{key: str(file) for key, file in tls.items() if file}})
