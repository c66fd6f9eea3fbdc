"""Whole calls through `hushgate up` on a machine whose firewall blocks part of the traffic."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.netns import LAN, NEEDS_ROOT, Namespace, namespace

pytestmark = [NEEDS_ROOT, pytest.mark.system, pytest.mark.timeout(400)]
STOP_S = 60
NEW = "198.51.100.21"


@contextlib.contextmanager
def up_in(network: Namespace, data: Path) -> Iterator[None]:
    command = network.command(sys.executable, "-m", "services.cli", "up", "--port", "0", "--data", str(data))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("Hushgate is up")
            yield
        finally:
            process.terminate()
            process.wait(STOP_S)


def test_calls_use_another_address_where_loopback_udp_is_dropped(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with namespace() as network, up_in(network, data):
        code, findings = network.doctor("--data", str(data))
        assert code == 0, findings
        assert {findings[check]["state"] for check in ("port", "nats", "service", "token", "offer", "media-udp")} == {
            "ok"
        }
        assert f"{LAN}:" in findings["media-udp"]["found"]

        network.run("iptables", "-A", "INPUT", "-d", "127.0.0.0/8", "-p", "udp", "-j", "DROP")
        network.run("ip6tables", "-A", "INPUT", "-d", "::1", "-p", "udp", "-j", "DROP")
        called = network.hushgate("call", "--data", str(data))
        assert called.returncode == 0, called.stderr

        network.run("ip", "address", "add", f"{NEW}/32", "dev", "lo")
        for _ in range(5):  # each takes longer than the media process needs to notice the new address
            _, findings = network.doctor("--data", str(data))
            if f"{NEW}:" in findings["offer"]["found"]:
                break
        assert f"{NEW}:" in findings["media-udp"]["found"]

        for program in ("iptables", "ip6tables"):
            network.run(program, "-A", "INPUT", "-p", "udp", "-j", "DROP")
        code, findings = network.doctor("--data", str(data))
        assert code == 1
        assert findings["udp"]["state"] == findings["media-udp"]["state"] == "fail"
        assert "does not get through" in findings["media-udp"]["found"]
        assert findings["token"]["state"] == findings["offer"]["state"] == "ok"
