"""`hushgate up`: start nats-server and the services in order, restart what exits, stop them in order."""

import asyncio
import secrets
import signal
import sys

from services.runtime.errors import AddressInUseError, HushgateError
from services.runtime.http.server import listen
from services.runtime.process.child import Child, ChildSpec
from services.up import plan
from services.up.console import LogConsole
from services.up.datadir import DataDirectory, data_directory
from services.up.nats_server import NatsServer, nats_server
from services.up.options import UpOptions, is_loopback

STOP_WITHIN_S = 5.0
_RESERVE_S = 0.6  # for nats-server and clean-up after the last child


class _Cluster:
    """The running child processes, in start order."""

    def __init__(
        self, options: UpOptions, data: DataDirectory, nats_url: str, page_secret: str, console: LogConsole
    ) -> None:
        self._options = options
        self._page_secret = page_secret
        self._data = data
        self._nats_url = nats_url
        self._console = console
        self._children: dict[str, Child] = {}
        self._all_ready = False

    def url(self, name: str) -> str:
        return self._children[name].http_url

    @property
    def public_url(self) -> str:
        """URL of the page and the API; the unspecified address is replaced by ``public_host``."""
        url = self.url("signaling")
        for unspecified in ("//0.0.0.0:", "//[::]:"):
            url = url.replace(unspecified, f"//{self._options.public_host}:")
        return url

    @property
    def page_url(self) -> str:
        """URL of the page, with the page secret in the fragment, which browsers do not send."""
        return f"{self.public_url}/#{self._page_secret}"

    async def start(self, *specs: ChildSpec) -> None:
        """Start ``specs`` concurrently and wait until all are ready."""
        fresh = [Child(spec, self._console, on_change=self._write_up_json) for spec in specs]
        self._children.update({child.spec.name: child for child in fresh})
        results = await asyncio.gather(*(child.start() for child in fresh), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def wait_ready(self) -> None:
        """Wait until all children are ready and write `up.json`; later changes are written to it, too.

        Raises:
            ChildFailedError: a child exits repeatedly.
        """
        for child in self._children.values():
            await child.ready()
        self._all_ready = True
        self._write_up_json()

    def _write_up_json(self) -> None:
        if self._all_ready:
            services = {name: (child.pid, child.http_url) for name, child in self._children.items()}
            self._data.write_up_json(
                url=self.public_url, page_url=self.page_url, nats_url=self._nats_url, services=services
            )

    async def stop(self) -> None:
        """Stop the children within `STOP_WITHIN_S`, callers' side first, so that the last usage reaches the ledger."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_WITHIN_S - _RESERVE_S
        self._all_ready = False
        for group in plan.STOP_ORDER:
            children = [child for name, child in self._children.items() if name.partition("-")[0] in group]
            left = max(0.1, deadline - loop.time())
            await asyncio.gather(*(child.stop(left) for child in children))


async def _run(options: UpOptions, data: DataDirectory, console: LogConsole) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with nats_server(data.path, store_mb=options.store_mb, identities=plan.identities(options)) as nats:
        shared = plan.SharedSettings(
            options,
            data,
            nats,
            metering_token=secrets.token_urlsafe(32),
            page_secret=secrets.token_urlsafe(16),
        )
        cluster = _Cluster(options, data, nats.url, shared.page_secret, console)
        try:
            work = asyncio.create_task(_start(cluster, shared), name="start")
            stop = asyncio.create_task(stopping.wait(), name="signal")
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
                await cluster.wait_ready()
                if not is_loopback(options.host):
                    console.write_event("demo_page_open_to_the_network", level="warning", host=options.host)
                sys.stdout.write(f"Hushgate is up: {cluster.page_url}\n")
                sys.stdout.flush()
                await _until_stopped(stop, nats, console)
            else:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        finally:
            console.write_event("stopping")
            await cluster.stop()


async def _until_stopped(stop: asyncio.Task[bool], nats: NatsServer, console: LogConsole) -> None:
    while not stop.done():
        exited = asyncio.create_task(nats.process.wait(), name="nats-server")
        try:
            await asyncio.wait({stop, exited}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            exited.cancel()
        if not stop.done():
            console.write_event("child_died", level="error", child="nats-server", exit_code=nats.process.returncode)
            await nats.restart()


async def _start(cluster: _Cluster, shared: plan.SharedSettings) -> None:
    options = shared.options
    rehearsal = () if options.upstream else (plan.rehearsal(shared),)
    await cluster.start(plan.metering(shared), *rehearsal, *plan.media(shared))
    provider = options.upstream or f"{cluster.url('rehearsal').replace('http', 'ws', 1)}/v1/realtime"
    await cluster.start(plan.upstream(shared, provider), plan.signaling(shared, metering_url=cluster.url("metering")))


def _check_port(options: UpOptions) -> None:
    try:
        listen(options.host, options.port).close()
    except AddressInUseError as exc:
        raise HushgateError(f"{exc}: choose another with --port, or 0 for any that is free") from exc


def run(options: UpOptions) -> int:
    """Run until SIGINT or SIGTERM; return the exit code."""
    console = LogConsole(options.log_format)
    try:
        with data_directory(options.data) as data:
            _check_port(options)  # the most likely error, reported before anything starts
            asyncio.run(_run(options, data, console))
    except HushgateError as exc:
        sys.stderr.write(f"hushgate: {exc}\n")
        return 1
    return 0
