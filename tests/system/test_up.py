"""`hushgate up` as a process: starting, refusing, restarting, stopping."""

import asyncio
import os
import signal
import socket
import ssl
import stat
from pathlib import Path

import httpx
import pytest

from services.runtime.bus.client import Bus
from services.runtime.errors import BusUnavailableError
from tests.runtime.certificate import self_signed
from tests.system.gateway import ECHO_VOICE, Up, ready, refused_up, running_rehearsal, running_up, wait_until


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A child of init that nobody has reaped yet is dead all the same.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_all_services_are_ready_and_named_in_up_json(up: Up) -> None:
    info = up.read()
    assert set(info) == {"url", "page_url", "tenant_key", "nats_url", "services"}
    assert set(info["services"]) == {"signaling", "media-0", "upstream", "metering", "rehearsal"}
    assert stat.S_IMODE((up.data / "up.json").stat().st_mode) == 0o600
    for service in info["services"].values():
        assert alive(service["pid"])
        assert httpx.get(f"{service['http_url']}/readyz").status_code == 200
        assert httpx.get(f"{service['http_url']}/healthz").status_code == 200
        assert "hushgate_" in httpx.get(f"{service['http_url']}/metrics").text


def test_the_log_is_json_by_line_and_holds_no_key(up: Up) -> None:
    assert any(event["event"] == "service_ready" for event in up.events())
    assert up.tenant_key not in up.log.read_text()


def test_a_second_up_on_the_same_data_is_refused_with_one_line(up: Up) -> None:
    refused = refused_up(up.data)
    assert refused.returncode != 0
    assert refused.stderr.count("\n") == 1
    assert "in use by another `hushgate up`" in refused.stderr


def test_a_taken_port_is_refused_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        refused = refused_up(tmp_path / "data", "--port", str(occupied.getsockname()[1]))
    assert refused.returncode != 0
    assert refused.stderr.count("\n") == 1
    assert "Address already in use" in refused.stderr
    assert "--port" in refused.stderr


def test_an_unreachable_provider_is_told_in_the_last_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    refused = refused_up(tmp_path / "data", "--upstream", f"ws://127.0.0.1:{port}/v1/realtime")
    assert refused.returncode != 0
    assert f"127.0.0.1:{port}" in refused.stderr.splitlines()[-1]


def test_a_wrong_provider_key_is_told_in_the_last_line_without_the_key(tmp_path: Path) -> None:
    with running_rehearsal(key="right") as url:
        refused = refused_up(
            tmp_path / "data", "--upstream", url, environment={"OPENAI_API_KEY": "sk-wrong-wrong-wrong"}
        )
    assert refused.returncode != 0
    assert "OPENAI_API_KEY" in refused.stderr.splitlines()[-1]
    assert "sk-wrong" not in refused.stderr


def test_with_the_right_key_the_named_provider_is_used_and_no_rehearsal_started(tmp_path: Path) -> None:
    with (
        running_rehearsal(key="right-right-right") as url,
        running_up(tmp_path / "data", "--upstream", url, environment={"OPENAI_API_KEY": "right-right-right"}) as up,
    ):
        assert set(up.read()["services"]) == {"signaling", "media-0", "upstream", "metering"}
        assert "right-right-right" not in up.log.read_text()
        for service in up.read()["services"].values():
            assert b"right-right-right" not in Path(f"/proc/{service['pid']}/cmdline").read_bytes()
        with_key = {
            pid
            for pid in (up.bus_pid(), *(service["pid"] for service in up.read()["services"].values()))
            if b"right-right-right" in Path(f"/proc/{pid}/environ").read_bytes()
        }
        assert with_key == {up.pid("upstream")}


def test_other_addresses_are_served_with_tls_and_named_so_that_they_can_be_opened(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    arguments = ("--host", "0.0.0.0", "--advertise", "127.0.0.1", "--tls-cert", str(cert), "--tls-key", str(key))  # noqa: S104
    with running_up(tmp_path / "data", *arguments, environment=ECHO_VOICE) as up:
        assert up.url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(cert))
        page = httpx.get(up.url, verify=context)
        assert page.status_code == 200
        assert "Hushgate" in page.text
        token = httpx.post(
            f"{up.url}/demo/token",
            headers={"Origin": up.url, "Authorization": f"Bearer {up.page_url.partition('#')[2]}"},
            verify=context,
        )
        assert token.json()["value"].startswith("ek_")


def test_sigterm_stops_all_and_leaves_nothing(tmp_path: Path) -> None:
    with running_up(tmp_path / "data", "--media-processes", "2", environment=ECHO_VOICE) as up:
        info = up.read()
        assert {"media-0", "media-1"} <= set(info["services"])
        assert up.stop() == 0
    assert not any(alive(service["pid"]) for service in info["services"].values())
    for url in (info["url"], info["nats_url"]):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
    left = {path.name for path in up.data.rglob("*") if path.suffix in {".json", ".part", ".pid", ".ports", ".lock"}}
    assert left <= {"tenants.json"}


def test_ctrl_c_stops_it_too(tmp_path: Path) -> None:
    with running_up(tmp_path / "data", environment=ECHO_VOICE) as up:
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(5) == 0


def test_a_child_that_dies_is_started_again_at_its_address(own_up: Up) -> None:
    before = len(own_up.events())
    pid, url = own_up.pid("metering"), own_up.service("metering")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: own_up.pid("metering") != pid and ready(url), "metering is ready again")
    assert own_up.service("metering") == url
    died = [event for event in own_up.events()[before:] if event["event"] == "child_died"]
    assert [(event["child"], event["exit_code"]) for event in died] == [("metering", -signal.SIGKILL)]


def test_the_bus_wants_a_password(up: Up) -> None:
    address = up.read()["nats_url"].rpartition("@")[2]

    async def connect_without_password() -> None:
        async with Bus.connect(f"nats://{address}", name="stranger"):
            pass

    with pytest.raises(BusUnavailableError, match="Authorization Violation"):
        asyncio.run(connect_without_password())


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with running_up(tmp_path / "data", environment=ECHO_VOICE) as up:
        pids = [service["pid"] for service in up.read()["services"].values()]
        up.process.kill()
        up.process.wait(5)
        wait_until(lambda: not any(map(alive, pids)), "all children are gone")
