import os
from pathlib import Path

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.runtime.errors import SettingsError
from services.runtime.process.settings import ServiceSettings, http_ports, inherited_environment, load


class GateSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="GATE_")

    hangover_ms: int = Field(default=500, ge=100)
    api_key: SecretStr = SecretStr("")
    address: str


def test_values_come_from_the_environment() -> None:
    settings = load(GateSettings, {"GATE_HANGOVER_MS": "400", "GATE_ADDRESS": "127.0.0.1", "OTHER": "x"})
    assert (settings.hangover_ms, settings.address) == (400, "127.0.0.1")


def test_a_misspelt_name_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(SettingsError, match=r"GATE_HANGOVER: .*GATE_HANGOVER_MS"):
        load(GateSettings, {"GATE_ADDRESS": "x", "GATE_HANGOVER": "1"})


def test_a_wrong_value_is_named_but_never_quoted() -> None:
    with pytest.raises(SettingsError) as caught:
        load(GateSettings, {"GATE_ADDRESS": "x", "GATE_HANGOVER_MS": "sk-secret"})
    assert "GATE_HANGOVER_MS" in str(caught.value)
    assert "sk-secret" not in str(caught.value)


def test_what_must_be_chosen_has_no_default() -> None:
    with pytest.raises(SettingsError, match="GATE_ADDRESS: Field required"):
        load(GateSettings, {})


def test_the_real_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_ADDRESS", "10.0.0.1")
    assert load(GateSettings).address == "10.0.0.1"


def test_a_child_inherits_its_own_settings_and_no_provider_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("MEDIA_ZONE", "a")
    monkeypatch.setenv("METERING_API_TOKEN", "t")
    environment = inherited_environment("media")
    assert environment["MEDIA_ZONE"] == "a"
    assert not {"OPENAI_API_KEY", "METERING_API_TOKEN"} & set(environment)


@pytest.mark.parametrize(
    "name",
    ["OPENAI_API_KEY", "XAI_API_KEY", "AZURE_CLIENT_SECRET", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "MEDIA_ZONE"],
)
def test_a_child_that_is_no_service_inherits_no_settings_and_keys(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("TZ", "UTC")
    environment = inherited_environment()
    assert name not in environment
    assert (environment["TZ"], environment["PATH"]) == ("UTC", os.environ["PATH"])  # noqa: TID251 - the parent's


def test_fixed_ports_are_found_by_service_with_their_tls() -> None:
    environment = {"SIGNALING_HTTP_PORT": "8080", "SIGNALING_TLS_CERT": "/tls/tls.crt", "MEDIA_HTTP_PORT": "0"}
    assert http_ports({**environment, "UPSTREAM_HTTP_PORT": "9000"}) == {
        "signaling": (8080, True),
        "upstream": (9000, False),
    }


class SealedSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="SEALED_", hide_input_in_errors=True)

    api_token: SecretStr = SecretStr("")
    api_token_file: Path | None = None


def test_a_secret_comes_from_the_environment_or_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    by_file = load(SealedSettings, {"SEALED_API_TOKEN_FILE": str(tmp_path / "token")})
    assert by_file.secret("api_token").get_secret_value() == "from a file"
    assert load(SealedSettings, {"SEALED_API_TOKEN": "plain"}).secret("api_token").get_secret_value() == "plain"
    assert load(SealedSettings, {}).secret("api_token").get_secret_value() == ""


def test_a_secret_and_its_file_at_once_are_refused() -> None:
    with pytest.raises(SettingsError, match="SEALED_API_TOKEN and SEALED_API_TOKEN_FILE are both given") as caught:
        load(SealedSettings, {"SEALED_API_TOKEN": "hunter2", "SEALED_API_TOKEN_FILE": "/token"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("content", "says"), [(None, "cannot be read"), (b" \n", "is empty"), (b"\xff", "cannot be")])
def test_a_file_without_a_secret_is_named(content: bytes | None, says: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    settings = load(SealedSettings, {"SEALED_API_TOKEN_FILE": str(tmp_path / "token")})
    with pytest.raises(SettingsError, match=f"SEALED_API_TOKEN_FILE .*{says}"):
        settings.secret("api_token")


def test_a_user_of_the_bus_has_a_password_and_an_inbox_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    given = {"SEALED_NATS_USER": "media", "SEALED_NATS_PASSWORD_FILE": str(tmp_path / "password")}
    login = load(SealedSettings, given).nats_login()
    assert login is not None
    assert (login.user, login.password, login.inbox_prefix) == ("media", "hunter2", "_INBOX_media")
    assert "hunter2" not in repr(login)
    assert load(SealedSettings, {}).nats_login() is None


@pytest.mark.parametrize("name", ["SEALED_NATS_USER", "SEALED_NATS_PASSWORD_FILE"])
def test_a_user_without_a_password_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="NATS_USER and NATS_PASSWORD_FILE belong together"):
        load(SealedSettings, {name: "media"})


def test_no_traces_are_exported_without_a_collector() -> None:
    settings = load(GateSettings, {"GATE_ADDRESS": "x"})
    assert (settings.otlp_endpoint, settings.otlp_headers(), settings.otlp_sample_ratio) == ("", {}, 1.0)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("collector:4318", "base URL of a collector"),
        ("grpc://collector:4317", "base URL of a collector"),
        ("http://", "base URL of a collector"),
        ("https://user:hunter2@collector:4318", "OTLP_HEADERS_FILE"),
        ("https://collector:4318?key=hunter2", "OTLP_HEADERS_FILE"),
    ],
)
def test_a_collector_is_named_by_a_url_without_secrets(value: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        load(GateSettings, {"GATE_ADDRESS": "x", "GATE_OTLP_ENDPOINT": value})
    assert "hunter2" not in str(caught.value)


def test_headers_for_the_collector_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("Authorization: Bearer a:b\n\nX-Scope-OrgID: acme\n")
    settings = load(GateSettings, {"GATE_ADDRESS": "x", "GATE_OTLP_HEADERS_FILE": str(file)})
    assert settings.otlp_headers() == {"Authorization": "Bearer a:b", "X-Scope-OrgID": "acme"}


@pytest.mark.parametrize("content", ["Bearer-hunter2", "Authorization:", ": hunter2", "Authorization: hünter2"])
def test_a_file_that_holds_no_headers_is_refused_and_never_quoted(tmp_path: Path, content: str) -> None:
    file = tmp_path / "headers"
    file.write_text(content)
    settings = load(GateSettings, {"GATE_ADDRESS": "x", "GATE_OTLP_HEADERS_FILE": str(file)})
    with pytest.raises(SettingsError, match="OTLP_HEADERS_FILE") as caught:
        settings.otlp_headers()
    assert "nter2" not in str(caught.value)


def test_a_file_of_headers_that_is_not_there_is_refused(tmp_path: Path) -> None:
    settings = load(GateSettings, {"GATE_ADDRESS": "x", "GATE_OTLP_HEADERS_FILE": str(tmp_path / "none")})
    with pytest.raises(SettingsError, match="cannot be read"):
        settings.otlp_headers()


def test_all_secrets_of_the_settings_are_known_for_redaction(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    (tmp_path / "headers").write_text("Authorization: Bearer of-the-collector\n")
    settings = load(
        SealedSettings,
        {
            "SEALED_API_TOKEN_FILE": str(tmp_path / "token"),
            "SEALED_NATS_URL": "nats://user:of%2Dthe-bus@127.0.0.1:4222",
            "SEALED_OTLP_HEADERS_FILE": str(tmp_path / "headers"),
        },
    )
    assert {"from-a-file", "of-the-bus", "of-the-collector"} <= settings.secret_values()
    assert "in-a-field" in load(SealedSettings, {"SEALED_API_TOKEN": "in-a-field"}).secret_values()


def test_an_unreadable_file_of_a_secret_is_reported_by_who_needs_it(tmp_path: Path) -> None:
    settings = load(SealedSettings, {"SEALED_API_TOKEN_FILE": str(tmp_path / "none")})
    assert settings.secret_values() <= {""}
    with pytest.raises(SettingsError, match="cannot be read"):
        settings.secret("api_token")
