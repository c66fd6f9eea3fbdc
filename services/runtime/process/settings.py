"""Settings are read from the environment once; one invalid or unknown value rejects all of them."""

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnreadableSettingError

from services.contracts.permissions import inbox_prefix
from services.runtime.bus.streams import DEFAULT_STORE_MB, MAX_STORE_MB, MIN_STORE_MB
from services.runtime.errors import SettingsError
from services.runtime.telemetry.logging import LogFormat
from services.runtime.telemetry.redaction import secrets_in_url

_NAMES_A_SECRET = re.compile(r"(?:key|token|secret|password|headers)_file\Z")


@dataclass(frozen=True, slots=True)
class NatsLogin:
    """A process's user and password on the bus."""

    user: str
    password: str = field(repr=False)

    @property
    def inbox_prefix(self) -> str:
        """Prefix of its reply subjects. One per user, so that the server can forbid other users to subscribe to it."""
        return inbox_prefix(self.user)


class ServiceSettings(BaseSettings):
    """Settings of every service. Each adds its own and a prefix: `MEDIA_NATS_URL`, `MEDIA_HTTP_PORT`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    nats_url: str = "nats://127.0.0.1:4222"
    nats_user: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,63}$")
    """This process's user on the bus; its inbox is `_INBOX_<user>.>`. Empty: as in NATS_URL.

    The server identifies processes by it: for media and upstream it equals PROCESS_ID.
    """
    nats_password_file: Path | None = None
    """File with that user's password: a mounted secret that no other process can read."""
    nats_wait_s: float = Field(default=5, ge=1, le=600)
    """How long the start waits for the NATS server; later outages are tolerated."""
    nats_store_mb: int = Field(default=DEFAULT_STORE_MB, ge=MIN_STORE_MB, le=MAX_STORE_MB)
    """The MiB of the NATS server's `max_file_store`; each stream and bucket is bounded to a share of it."""
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65535)
    """0 binds a free port; `service_ready` in the log names it."""
    log_format: LogFormat = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    data_dir: Path = Path(".hushgate")
    """Directory of the outbox or the ledger."""
    process_id: str = Field(default="local-0", pattern=r"^[A-Za-z0-9_-]{1,63}$")
    """The unique name of this process on the bus, `<pod>-<n>`."""
    otlp_endpoint: str = ""
    """Base URL of a trace collector, OTLP over HTTP, `http://collector:4318`. Empty: no traces."""
    otlp_headers_file: Path | None = None
    """File with lines of `Name: value` for a collector that needs credentials: a mounted secret."""
    otlp_sample_ratio: float = Field(default=1.0, ge=0, le=1)
    """The share of calls that are traced. Signaling samples; the others follow its decision."""

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_collector(cls, value: str) -> str:
        return collector_url(value) if value else ""

    def otlp_headers(self) -> dict[str, str]:
        """Read OTLP_HEADERS_FILE; empty without one.

        Raises:
            SettingsError: it cannot be read, or a line is no header.
        """
        if self.otlp_headers_file is None:
            return {}
        try:
            lines = self.otlp_headers_file.read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise SettingsError(f"OTLP_HEADERS_FILE {self.otlp_headers_file} cannot be read: {exc}") from exc
        headers: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            name, colon, value = line.partition(":")
            if line.strip() and not (colon and name.strip() and value.strip()):  # never quoted: it is a secret
                raise SettingsError(f"OTLP_HEADERS_FILE {self.otlp_headers_file}, line {number}: give `Name: value`")
            if colon:
                headers[name.strip()] = value.strip()
        return headers

    @model_validator(mode="after")
    def _user_with_password(self) -> Self:
        if bool(self.nats_user) != (self.nats_password_file is not None):
            raise ValueError("NATS_USER and NATS_PASSWORD_FILE belong together")
        return self

    @model_validator(mode="after")
    def _secret_or_its_file(self) -> Self:
        fields = type(self).model_fields
        for name in fields:
            file = f"{name}_file"
            if file in fields and getattr(self, file) is not None and getattr(self, name).get_secret_value():
                raise ValueError(f"{self.env_name(name)} and {self.env_name(file)} are both given: keep one of them")
        return self

    @classmethod
    def env_name(cls, field_name: str) -> str:
        """The environment variable of a field."""
        return f"{cls.model_config.get('env_prefix', '')}{field_name}".upper()

    def secret(self, field_name: str) -> SecretStr:
        """The secret in ``field_name``, or the content of the file that ``<field_name>_file`` names; empty if neither.

        Raises:
            SettingsError: the file cannot be read, or is empty.
        """
        file: Path | None = getattr(self, f"{field_name}_file")
        given: SecretStr = getattr(self, field_name)
        return given if file is None else SecretStr(_read(file, self.env_name(f"{field_name}_file")))

    def secret_values(self) -> set[str]:
        """Every secret of these settings: fields, the files that they name, passwords in URLs. For redaction.

        A file that cannot be read is skipped; the code that needs it reports that.
        """
        found: set[str] = set()
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                found.add(value.get_secret_value())
            elif isinstance(value, Path) and _NAMES_A_SECRET.search(name):
                with contextlib.suppress(OSError, UnicodeDecodeError):
                    text = value.read_text().strip()
                    found |= {text, *text.split()}  # of `Name: value` the value, of `Bearer …` the token
            elif isinstance(value, str) and "://" in value:
                found |= secrets_in_url(value)
        return found

    def nats_login(self) -> NatsLogin | None:
        """User and password for the bus; None: those in NATS_URL.

        Raises:
            SettingsError: the password's file cannot be read, or is empty.
        """
        if self.nats_password_file is None:
            return None
        return NatsLogin(self.nats_user, _read(self.nats_password_file, self.env_name("nats_password_file")))


def collector_url(text: str) -> str:
    """Validate the base URL of a collector and return it.

    Raises:
        ValueError: it is no http or https URL, or contains credentials, a query or a fragment.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("give the base URL of a collector, such as http://collector:4318")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("credentials, queries and fragments do not belong into it; OTLP_HEADERS_FILE takes a token")
    return text.rstrip("/")


def _read(file: Path, name: str) -> str:
    try:
        text = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{name} {file} cannot be read: {exc}") from exc
    if not text:
        raise SettingsError(f"{name} {file} is empty")
    return text


S = TypeVar("S", bound=ServiceSettings)


def load(settings: type[S], environment: Mapping[str, str] | None = None) -> S:
    """Read ``settings`` from the environment.

    Raises:
        SettingsError: a value is wrong, or a name with the service's prefix is unknown.
    """
    prefix = settings.model_config.get("env_prefix", "")
    names = {settings.env_name(name) for name in settings.model_fields}
    present = os.environ if environment is None else environment
    unknown = sorted(name for name in present if name.upper().startswith(prefix) and name.upper() not in names)
    if unknown:
        raise SettingsError(
            f"unknown setting {', '.join(unknown)}: the settings of this service are {', '.join(sorted(names))}"
        )
    try:
        if environment is None:
            return settings()
        low = {name.upper(): value for name, value in environment.items()}
        return settings.model_validate(
            {name: low[key] for name in settings.model_fields if (key := f"{prefix}{name}".upper()) in low}
        )
    except ValidationError as exc:
        problems = "; ".join(
            f"{prefix}{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}"
            for e in exc.errors(include_input=False, include_url=False)
        )
        raise SettingsError(problems) from None
    except UnreadableSettingError as exc:
        raise SettingsError(f'{prefix}… {exc}: a list is written as JSON, ["…", "…"]') from None


_SERVICE_PREFIXES = ("SIGNALING_", "MEDIA_", "UPSTREAM_", "METERING_", "REHEARSAL_")
_NEEDED_BY_ANY = re.compile(
    r"(?:PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_[A-Z]+|TZ|TMPDIR|VIRTUAL_ENV"  # the machine
    r"|LD_LIBRARY_PATH|OPENBLAS_[A-Z0-9_]+|OMP_NUM_THREADS|PYTHON[A-Z]+|COVERAGE_[A-Z_]+|COV_CORE_[A-Z]+"  # the program
    r"|SSL_CERT_FILE|SSL_CERT_DIR|(?:HTTPS?|ALL|NO)_PROXY|(?:https?|all|no)_proxy"  # its network
    r"|GOMAXPROCS|GOMEMLIMIT)\Z"  # nats-server
)
"""Variables without a secret that a program may need; children inherit no others."""


def http_ports(environment: Mapping[str, str] | None = None) -> dict[str, tuple[int, bool]]:
    """By service: the fixed port that the environment sets, and whether it serves TLS there."""
    present = os.environ if environment is None else environment
    return {
        prefix.rstrip("_").lower(): (int(port), bool(present.get(f"{prefix}TLS_CERT")))
        for prefix in _SERVICE_PREFIXES
        if (port := present.get(f"{prefix}HTTP_PORT", "0")).isdecimal() and int(port)
    }


def inherited_environment(command: str = "") -> dict[str, str]:
    """Return the environment for a child process.

    That is the machine's variables, and the settings of the service ``command``. A child that needs a
    secret gets it by its own setting; only upstream gets the provider's key.
    """
    mine = f"{command.upper()}_"
    return {
        name: value
        for name, value in os.environ.items()
        if _NEEDED_BY_ANY.match(name) or (mine in _SERVICE_PREFIXES and name.startswith(mine))
    }
