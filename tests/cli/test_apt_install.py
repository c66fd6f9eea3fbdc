"""A package installed by bin/apt-install starts no service, and nothing on the machine has to tell it so."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STARTERS = ("invoke-rc.d", "deb-systemd-invoke", "deb-systemd-helper", "update-rc.d")
CONTROL = """Package: hushgate-probe
Version: 1
Architecture: all
Maintainer: Hushgate <nobody@example.org>
Description: says what its script may start services with
"""
# As debhelper writes it, but for what is written down first.
POSTINST = f"""#!/bin/sh
set -e
for name in {" ".join(STARTERS)}; do command -v $name; done >"$DPKG_ROOT/starters"
update-rc.d hushgate-probe defaults >/dev/null
invoke-rc.d --skip-systemd-native hushgate-probe start
deb-systemd-helper enable hushgate-probe.service >/dev/null
deb-systemd-invoke start hushgate-probe.service >/dev/null
"""
# An apt of its own, that reads and writes below one folder.
APT_CONF = """
Dir::State "{root}/apt";
Dir::State::status "{root}/var/lib/dpkg/status";
Dir::Cache "{root}/cache";
Dir::Log "{root}/log";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "/dev/null";
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
DPkg::Options {{ "--root={root}"; "--log=/dev/null"; "--force-script-chrootless"; }};
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    scripts = tmp_path / "package" / "DEBIAN"
    scripts.mkdir(parents=True)
    (scripts / "control").write_text(CONTROL)
    (scripts / "postinst").write_text(POSTINST)
    (scripts / "postinst").chmod(0o755)
    built = tmp_path / "probe.deb"
    subprocess.run(["/usr/bin/dpkg-deb", "--build", scripts.parent, built], check=True, capture_output=True)  # noqa: S603
    return built


@pytest.fixture
def apt_root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for folder in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "apt", "cache", "log"):
        (root / folder).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    (root / "apt.conf").write_text(APT_CONF.format(root=root))
    return root


def apt_install(package: Path, apt_root: Path, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own
        [ROOT / "bin" / "apt-install", package],
        env={"APT_CONFIG": str(apt_root / "apt.conf"), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(shutil.which("apt-get") is None or os.geteuid() != 0, reason="installs with apt, which needs root")
def test_the_scripts_of_a_package_find_only_what_starts_no_service(package: Path, apt_root: Path) -> None:
    installed = apt_install(package, apt_root, "/usr/sbin:/usr/bin:/sbin:/bin")
    assert installed.returncode == 0, installed.stderr
    assert (apt_root / "starters").read_text().split() == [str(ROOT / "bin/no-services" / name) for name in STARTERS]


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg")
def test_without_apt_it_says_what_to_install(package: Path, apt_root: Path, tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    for name in ("bash", "env", "id"):
        (tmp_path / "commands" / name).symlink_to(shutil.which(name) or name)
    refused = apt_install(package, apt_root, str(tmp_path / "commands"))
    assert refused.returncode == 1
    assert refused.stderr == f"This needs Debian packages. Run: sudo apt-get install {package}\n"
