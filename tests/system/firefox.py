"""An unmodified Firefox, driven by WebDriver BiDi.

An AudioContext of Firefox runs on the clock of a sound card. A machine without one gets a PulseAudio server with a null
sink.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from services.runtime import clock
from tests.system import bidi
from tests.system.gateway import wait_until
from tests.system.page import CALLER_SCRIPT, PageCaller

COMMANDS = ("firefox-esr", "firefox")
# Nothing here touches WebRTC: candidates, addresses and checks are as in anybody's Firefox.
PREFERENCES = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage": "about:blank",
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "media.autoplay.default": 0,  # as in the Chromium of these tests: sound needs no gesture
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}
START_TIMEOUT_S = 60.0
_LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")


def installed() -> str | None:
    """Return the command of the installed Firefox."""
    return next((found for command in COMMANDS if (found := shutil.which(command))), None)


@contextmanager
def _sound_card(folder: Path) -> Iterator[str]:
    """Run a PulseAudio server with one null sink; yield its address."""
    address = folder / "native"
    command = [
        "pulseaudio",
        *("-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"),
        *("-L", "module-null-sink", "-L", f"module-native-protocol-unix auth-anonymous=1 socket={address}"),
    ]
    own = {**os.environ, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}  # noqa: TID251 - a child's
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=own) as server:  # noqa: S603
        try:
            wait_until(address.exists, "PulseAudio listens")
            yield f"unix:{address}"
        finally:
            server.terminate()


@contextmanager
def running_firefox(command: str) -> Iterator[str]:
    """Run a headless Firefox; yield the URL of its WebDriver BiDi."""
    with (
        tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True) as profile,
        tempfile.TemporaryDirectory(prefix="pulse-") as sound,
        _sound_card(Path(sound)) as sound_server,
    ):
        lines = [f'user_pref("{name}", {json.dumps(value)});' for name, value in PREFERENCES.items()]
        (Path(profile) / "user.js").write_text("\n".join(lines))
        arguments = [command, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
        own = {**os.environ, "PULSE_SERVER": sound_server}  # noqa: TID251 - a child's
        with subprocess.Popen(  # noqa: S603 - the browser
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=own
        ) as process:
            try:
                yield _address(process)
            finally:
                process.terminate()
                process.communicate()


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    printed, deadline = [], clock.monotonic() + START_TIMEOUT_S
    for line in process.stderr:
        printed.append(line)
        if found := _LISTENING.search(line):
            return found[1]
        if clock.monotonic() > deadline:
            break
    raise AssertionError("Firefox did not start: " + "".join(printed))


class FirefoxCaller(PageCaller):
    """The page and its caller in Firefox."""

    def __init__(self, tab: bidi.Tab) -> None:
        super().__init__(tab)
        self.tab = tab

    async def press(self, part: str) -> None:
        await self.tab.click(f'[data-testid="{part}"]')

    async def shows(self, part: str, text: str = "") -> str:
        """Wait until a part of the page is visible and contains ``text``; return its text."""
        found = await self.until(
            """(() => {
                 const part = document.querySelector(`[data-testid="${wanted.part}"]`);
                 return part.checkVisibility() && part.innerText.includes(wanted.text) && part.innerText;
               })()""",
            {"part": part, "text": text},
        )
        return str(found)


@asynccontextmanager
async def open_firefox(driver: str, url: str, *, script: str = "") -> AsyncIterator[FirefoxCaller]:
    """Open the page at ``url``; whatever it logs as an error fails the test. ``script`` runs before the page's own."""
    async with bidi.session(driver) as made, bidi.open_tab(made, url, script=CALLER_SCRIPT + script) as tab:
        yield FirefoxCaller(tab)
        assert not made.errors, made.errors
