import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from services.up.datadir import DataDirectoryError, data_directory


def test_the_tenant_key_is_random_and_stays(tmp_path: Path) -> None:
    with data_directory(tmp_path / "a") as first:
        key = first.tenant_key
    with data_directory(tmp_path / "a") as again, data_directory(tmp_path / "b") as other:
        assert again.tenant_key == key
        assert other.tenant_key != key
    assert key.startswith("hg_")


def test_signaling_gets_only_the_hash_of_the_key(tmp_path: Path) -> None:
    with data_directory(tmp_path) as data:
        tenants = data.tenants_file.read_text()
    assert data.tenant_key not in tenants
    assert hashlib.sha256(data.tenant_key.encode()).hexdigest() in tenants


def test_up_json_is_private_and_goes_with_us(tmp_path: Path) -> None:
    with data_directory(tmp_path) as data:
        data.write_up_json(
            url="http://x", page_url="http://x/#s", nats_url="nats://y", services={"media-0": (7, "http://z")}
        )
        file = tmp_path / "up.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert json.loads(file.read_text()) == {
            "url": "http://x",
            "page_url": "http://x/#s",
            "tenant_key": data.tenant_key,
            "nats_url": "nats://y",
            "services": {"media-0": {"pid": 7, "http_url": "http://z"}},
        }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tenant.key", "tenants.json"]


def test_a_second_up_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    with data_directory(tmp_path) as data:
        data.write_up_json(url="http://127.0.0.1:8080", page_url="", nats_url="", services={})
        with (
            pytest.raises(DataDirectoryError, match=r"in use by another `hushgate up` \(http://127.0.0.1:8080\)"),
            data_directory(tmp_path),
        ):
            pass


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o707, 0o701])
def test_a_directory_of_ours_that_others_can_read_is_closed_to_them(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "data"
    with data_directory(path):
        pass
    path.chmod(mode)
    with data_directory(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_an_empty_directory_becomes_private(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir(mode=0o755)
    with data_directory(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_shared_directory_with_the_files_of_others_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "srv"
    path.mkdir()
    path.chmod(0o755)
    (path / "index.html").touch()
    with pytest.raises(DataDirectoryError, match="can be read by other users \\(mode 755\\)"), data_directory(path):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert [entry.name for entry in path.iterdir()] == ["index.html"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    os.chown(path, 65534, 65534)
    with pytest.raises(DataDirectoryError, match="belongs to another user"), data_directory(path):
        pass


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match="choose another with --data"), data_directory(tmp_path / "file"):
        pass
