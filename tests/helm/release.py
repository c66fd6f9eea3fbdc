"""Runs on this machine what the chart installs: nats-server with its configuration, services with their environment.

Only what the cluster would give is replaced: addresses, ports, and where volumes are mounted.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.runtime.process.child import Child, ChildSpec, stop
from services.runtime.process.settings import NatsLogin
from services.up.nats_server import binary
from tests.helm.chart import Object, RenderedChart

_SECRETS = "/etc/hushgate/secrets"
_BUS = "/etc/hushgate/bus"


class Log:
    """Records the log lines of services."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def write_child_event(self, child: str, event: Mapping[str, Any], /) -> None:
        self.events.append((child, event))

    def write_event(self, event: str, /, *, level: str = "info", **fields: object) -> None:
        self.events.append(("", {"event": event, "level": level, **fields}))

    def named(self, event: str) -> list[Mapping[str, Any]]:
        return [each for _, each in self.events if each.get("event") == event]


@asynccontextmanager
async def nats(rendered: RenderedChart, home: Path) -> AsyncIterator[str]:
    """Run nats-server with the chart's own configuration; yield its URL."""
    config = _configure(rendered, home)
    passwords = {_variable(key): text for key, text in rendered.secret("nats").items()}
    process = await asyncio.create_subprocess_exec(
        str(binary()), "--config", str(config), "--log", str(home / "nats.log"), env=passwords
    )
    try:
        yield await _url(process, home)
    finally:
        await stop(process)


def _configure(rendered: RenderedChart, home: Path) -> Path:
    text = rendered.one("ConfigMap", "nats")["data"]["nats.conf"]
    text = re.sub(r"^listen: .*$", "listen: 127.0.0.1:-1", text, flags=re.MULTILINE)
    text = re.sub(r"^http: .*$", f'ports_file_dir: "{home}"', text, flags=re.MULTILINE)
    home.mkdir(parents=True)
    config = home / "nats.conf"
    config.write_text(text.replace("/var/lib/hushgate", str(home)))
    return config


async def _url(process: asyncio.subprocess.Process, home: Path) -> str:
    ports = home / f"nats-server_{process.pid}.ports"
    async with asyncio.timeout(10):
        while not ports.exists() or not (found := re.search(r"nats://[\d.:]+", ports.read_text())):
            assert process.returncode is None, (home / "nats.log").read_text()
            await asyncio.sleep(0.01)  # the server writes the file when it listens; there is no event to wait for
    return found.group()


def _variable(key: str) -> str:
    return f"NATS_PASSWORD_{key.replace('-', '_').upper()}"


def users(rendered: RenderedChart) -> dict[str, str]:
    """Return the users of the server's configuration, with their keys in the Secret."""
    text = rendered.one("ConfigMap", "nats")["data"]["nats.conf"]
    keys = {_variable(key): key for key in rendered.secret("nats")}
    return {name: keys[variable] for name, variable in re.findall(r'user: "(\S+)", password: \$(\w+)', text)}


def login(rendered: RenderedChart, user: str) -> NatsLogin:
    return NatsLogin(user, rendered.secret("nats")[users(rendered)[user]])


@dataclass
class Release:
    """The services of a release, running on this machine."""

    rendered: RenderedChart
    home: Path
    nats_url: str
    log: Log
    children: dict[str, Child]

    @property
    def url(self) -> str:
        return self.children["signaling"].http_url

    @property
    def tenant_key(self) -> str:
        return self.rendered.secret("demo-tenant")["tenant-key"]

    def spec(self, component: str) -> ChildSpec:
        """Return the command and environment of the pod's container, with this machine in the place of the cluster."""
        prefix = component.upper()
        environment = self.rendered.environment(component) | {
            f"{prefix}_HTTP_HOST": "127.0.0.1",
            f"{prefix}_HTTP_PORT": "0",
            f"{prefix}_PROCESS_ID": f"hushgate-{component}-0",
            f"{prefix}_DATA_DIR": str(self.home / component),
        }
        if environment.get(f"{prefix}_NATS_USER") == "metadata.name":
            environment[f"{prefix}_NATS_USER"] = f"hushgate-{component}-0"
        for name in (f"{prefix}_NATS_URL", "SIGNALING_METERING_URL", "UPSTREAM_URL"):
            if name in environment:
                environment[name] = self._here(environment[name])
        if component == "media":
            environment |= {"MEDIA_ADVERTISED_ADDRESS": "127.0.0.1", "MEDIA_UDP_PORT": "0"}
        self._mount(component)
        here = {_SECRETS: self._secrets(component), _BUS: self._bus(component) / f"hushgate-{component}-0"}
        for mounted, folder in here.items():
            environment = {name: text.replace(mounted, str(folder)) for name, text in environment.items()}
        return ChildSpec(component, component, environment, f"{prefix}_HTTP_PORT")

    def _here(self, url: str) -> str:
        scheme, _, rest = url.partition("://")
        component = rest.partition(":")[0].removeprefix("hushgate-")
        if component == "nats":
            return self.nats_url
        return f"{scheme}://{self.children[component].http_url.partition('://')[2]}{rest.partition('8080')[2]}"

    def _secrets(self, component: str) -> Path:
        return self.home / component / "secrets"

    def _bus(self, component: str) -> Path:
        return self.home / component / "bus"

    def _mount(self, component: str) -> None:
        folder = self._secrets(component)
        folder.mkdir(parents=True)
        volumes = {each["name"]: each for each in self.rendered.pod(component)["volumes"]}
        for source in volumes.get("secrets", {"projected": {"sources": []}})["projected"]["sources"]:
            data = self.rendered.secret(source["secret"]["name"].removeprefix("hushgate-"))
            for item in source["secret"]["items"]:
                (folder / item["path"]).write_text(data[item["key"]])
        if "bus" in volumes:
            self._mount_own(component, volumes["bus"]["secret"])

    def _mount_own(self, component: str, secret: Object) -> None:
        """Mount a volume with `subPathExpr` as the kubelet does: the container gets the folder with its pod's name."""
        data = self.rendered.secret(secret["secretName"].removeprefix("hushgate-"))
        own = {each["path"]: data[each["key"]] for each in secret["items"]}
        for path, text in own.items():
            if path.startswith(f"hushgate-{component}-0/"):
                file = self._bus(component) / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)

    async def start(self, stack: AsyncExitStack, *components: str) -> None:
        """Start ``components`` concurrently."""
        fresh = {component: Child(self.spec(component), self.log) for component in components}
        for child in fresh.values():
            stack.push_async_callback(child.stop, 3.0)
        self.children |= fresh
        await asyncio.gather(*(child.start() for child in fresh.values()))


@asynccontextmanager
async def running(rendered: RenderedChart, home: Path) -> AsyncIterator[Release]:
    """Run the whole release on this machine."""
    async with nats(rendered, home / "nats") as url, AsyncExitStack() as stack:
        release = Release(rendered, home, url, Log(), {})
        await release.start(stack, "rehearsal", "metering", "media")
        await release.start(stack, "upstream", "signaling")
        yield release
