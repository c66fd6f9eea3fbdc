import json
import os
from pathlib import Path

import pytest

from services.contracts.ids import TenantId
from services.signaling.core.tenants import InvalidTenantsError, Rates, Tenants, key_hash
from services.signaling.tenants_file import TenantsFile, TenantsFileError

KEY = "hg_" + "k" * 43
ONE = {"id": "one", "keys_sha256": [key_hash(KEY)]}


def text(*tenants: object) -> bytes:
    return json.dumps({"tenants": tenants}).encode()


def test_a_key_finds_its_tenant() -> None:
    tenants = Tenants.parse(text(ONE, {"id": "two", "keys_sha256": [key_hash("x"), key_hash("y")]}))
    assert len(tenants) == 2
    found = tenants.by_key(KEY)
    assert found is not None
    assert found.id == "one"
    assert tenants.by_key("y") == tenants.by_id(TenantId("two"))
    assert tenants.by_key("z") is None
    assert tenants.by_id(TenantId("three")) is None


def test_any_text_can_be_asked_for() -> None:
    assert Tenants.parse(text(ONE)).by_key("\udcff é") is None


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (b"", "file"),
        (b"[]", "file"),
        (text({"id": "A B"}), "tenants.0.id"),
        (text({"id": "a", "keys_sha256": [KEY]}), "tenants.0.keys_sha256.0"),
        (text({"id": "a", "limit": {}}), "tenants.0.limit"),
        (text({"id": "a", "session": {"audio": 1}}), "tenants.0.session"),
        (text({"id": "a", "limits": {"max_seconds": 0}}), "tenants.0.limits.max_seconds"),
        (text({"id": "a", "limits": {"max_second": 60}}), "no limit max_second; what a tenant may ask for is in rates"),
        (text({"id": "a", "limits": {"max_cost_usd": "5"}}), "tenants.0.limits: .*not enforced yet.*max_cost_usd"),
        (text({"id": "a", "rates": {"mints": 60}}), "tenants.0.rates.mints"),
        (text({"id": "a", "rates": {"mints_per_s": 0}}), "tenants.0.rates.mints_per_s"),
        (text({"id": "a", "rates": {"offers_burst": 0}}), "tenants.0.rates.offers_burst"),
        (text(ONE, {"id": "one"}), "same id"),
        (text(ONE, {**ONE, "id": "two"}), "a key is listed twice"),
    ],
)
def test_a_wrong_file_is_refused_and_says_where(file: bytes, expected: str) -> None:
    with pytest.raises(InvalidTenantsError, match=expected) as refused:
        Tenants.parse(file)
    assert KEY not in str(refused.value)


def test_a_tenants_own_rates_go_over_those_of_the_operator_one_by_one() -> None:
    tenant = Tenants.parse(text({**ONE, "rates": {"mints_per_s": 0.5, "live_tokens": 10_000}})).by_key(KEY)
    assert tenant is not None
    rates = Rates(mints_per_s=7, offers_per_s=8, live_tokens=9).overridden_by(tenant.rates)
    assert rates == Rates(mints_per_s=0.5, offers_per_s=8, live_tokens=10_000)


def replace(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.rename(path)


def test_a_changed_file_is_taken_and_a_broken_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "tenants.json"
    path.write_bytes(text(ONE))
    file = TenantsFile(path)
    before = file.current()
    assert file.current() is before
    replace(path, b"{")
    assert file.current() is before
    path.unlink()
    assert file.current() is before
    replace(path, text({"id": "two"}))
    assert file.current().by_key(KEY) is None


def test_a_missing_or_wrong_file_at_the_start_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "tenants.json"
    with pytest.raises(TenantsFileError, match=f"{path}.*{os.strerror(2)}"):
        TenantsFile(path)
    path.write_bytes(b"{}")
    with pytest.raises(TenantsFileError, match="tenants: Field required"):
        TenantsFile(path)
