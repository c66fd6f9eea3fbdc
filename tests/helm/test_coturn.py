"""The chart's coturn."""

import subprocess
from pathlib import Path

from tests.helm import matrix


def test_coturn_gets_its_secret_by_a_file_of_its_own(tmp_path: Path) -> None:
    container = next(iter(matrix.rendered("turn").pod("coturn")["containers"]))
    for folder, file, text in (
        ("coturn", "turnserver.conf", "use-auth-secret\n"),
        ("coturn-secret", "static-auth-secret", "a%s 'secret' of $HOME"),
        ("bin", "turnserver", '#!/bin/sh\necho "$@"\n'),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text(text)
    (tmp_path / "bin" / "turnserver").chmod(0o755)
    (tmp_path / "run").mkdir()
    script = container["args"][0].replace("/etc/", f"{tmp_path}/").replace("/run/coturn", f"{tmp_path}/run")
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "POD_ADDRESS": "192.0.2.7"}
    done = subprocess.run([*container["command"], script], env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    complete = tmp_path / "run" / "turnserver.conf"
    assert done.stdout == f"-c {complete}\n"
    assert complete.read_text() == ("use-auth-secret\nstatic-auth-secret=a%s 'secret' of $HOME\nrelay-ip=192.0.2.7\n")
    assert complete.stat().st_mode & 0o077 == 0
