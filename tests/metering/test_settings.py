"""Metering opens to the network only with a token."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.metering.settings import MeteringSettings
from services.runtime.errors import SettingsError
from services.runtime.process.settings import load


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_on_loopback_no_token_is_needed(host: str) -> None:
    assert load(MeteringSettings, {"METERING_HTTP_HOST": host}).api_token.get_secret_value() == ""


def test_on_the_network_a_token_is_required() -> None:
    with pytest.raises(SettingsError, match="METERING_API_TOKEN is required"):
        load(MeteringSettings, {"METERING_HTTP_HOST": "0.0.0.0"})  # noqa: S104 - the point of the test
    settings = load(MeteringSettings, {"METERING_HTTP_HOST": "0.0.0.0", "METERING_API_TOKEN": "hunter2"})  # noqa: S104
    assert "hunter2" not in repr(settings)


def test_at_most_fifty_tenants_have_a_label() -> None:
    assert MeteringSettings(metric_tenants=("acme",)).metric_tenants == ("acme",)
    with pytest.raises(ValidationError, match="at most 50"):
        MeteringSettings(metric_tenants=tuple(f"t{n}" for n in range(51)))


def test_on_the_network_a_token_in_a_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2\n")
    given = {"METERING_HTTP_HOST": "0.0.0.0", "METERING_API_TOKEN_FILE": str(tmp_path / "token")}  # noqa: S104
    assert load(MeteringSettings, given).secret("api_token").get_secret_value() == "hunter2"
