"""A call on a machine without internet, with one address and no route."""

import os
import shutil
import subprocess
import sys

import pytest

CALL = "tests/system/test_call.py::test_a_spoken_question_is_transcribed_answered_and_heard"
# Chromium wants some interface beside loopback; a pair of virtual ones that leads nowhere will do.
NOWHERE = (
    "ip link set lo up && ip link add here type veth peer name there && "
    "ip addr add 192.0.2.5/24 dev here && ip link set here up && ip link set there up"
)


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of its own takes root")
@pytest.mark.skipif(not (shutil.which("unshare") and shutil.which("ip")), reason="needs unshare and iproute2")
def test_a_whole_call_works_without_internet() -> None:
    inner = f"{NOWHERE} && exec {sys.executable} -m pytest -q {CALL}"
    done = subprocess.run(  # noqa: S603 - our own command
        ["unshare", "--net", "sh", "-c", inner],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout
