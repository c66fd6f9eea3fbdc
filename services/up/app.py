"""`hushgate up`: starts everything in order, watches it, stops it in order."""

import asyncio
import secrets
import signal
import sys

from services.runtime.child import Child, ChildSpec
from services.runtime.errors import AddressInUseError, HushgateError
from services.runtime.http import listen
from services.up import plan
from services.up.console import LogConsole
from services.up.datadir import DataDirectory, data_directory
from services.up.natsd import NatsServer, nats_server
from services.up.options import UpOptions, is_loopback

STOP_WITHIN_S = 5.0
_RESERVE_S = 0.6  # for nats-server and the rest after the last child


class _Cluster:
    """The children that run, in the order in which they started."""

    def __init__(
        self, options: UpOptions, data: DataDirectory, nats_url: str, page_secret: str, console: LogConsole
    ) -> None:
        self._options = options
        self._page_secret = page_secret
        self._data = data
        self._nats_url = nats_url
        self._console = console
        self._children: dict[str, Child] = {}
        self._complete = False

    def url(self, name: str) -> str:
        return self._children[name].http_url

    @property
    def public_url(self) -> str:
        """Where people and programs find the page and the API; nobody can open the unspecified address."""
        url = self.url("signaling")
        for unspecified in ("//0.0.0.0:", "//[::]:"):
            url = url.replace(unspecified, f"//{self._options.public_host}:")
        return url

    @property
    def page_url(self) -> str:
        """The page, with this start's secret in the fragment: browsers send a fragment to nobody."""
        return f"{self.public_url}/#{self._page_secret}"

    async def start(self, *specs: ChildSpec) -> None:
        """Start ``specs`` side by side and wait until all are ready."""
        fresh = [Child(spec, self._console, on_change=self._announce) for spec in specs]
        self._children.update({child.spec.name: child for child in fresh})
        results = await asyncio.gather(*(child.start() for child in fresh), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def complete(self) -> None:
        """Wait until all are ready at once; from now on every change is written to `up.json`.

        Raises:
            ChildFailedError: one dies again and again.
        """
        for child in self._children.values():
            await child.ready()
        self._complete = True
        self._announce()

    def _announce(self) -> None:
        if self._complete:
            services = {name: (child.pid, child.http_url) for name, child in self._children.items()}
            self._data.announce(url=self.public_url, page_url=self.page_url, nats_url=self._nats_url, services=services)

    async def stop(self) -> None:
        """Callers' side first, so that the last usage still reaches the ledger; all within the promised time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_WITHIN_S - _RESERVE_S
        self._complete = False
        for group in plan.STOP_ORDER:
            children = [child for name, child in self._children.items() if name.partition("-")[0] in group]
            left = max(0.1, deadline - loop.time())
            await asyncio.gather(*(child.stop(left) for child in children))


async def _run(options: UpOptions, data: DataDirectory, console: LogConsole) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with nats_server(data.path, store_mb=options.store_mb) as nats:
        shared = plan.Shared(
            options,
            data,
            nats.url,
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
                await cluster.complete()
                if not is_loopback(options.host):
                    console.say("demo_page_open_to_the_network", level="warning", host=options.host)
                sys.stdout.write(f"Hushgate is up: {cluster.page_url}\n")
                sys.stdout.flush()
                await _until_stopped(stop, nats, console)
            else:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        finally:
            console.say("stopping")
            await cluster.stop()


async def _until_stopped(stop: asyncio.Task[bool], nats: NatsServer, console: LogConsole) -> None:
    while not stop.done():
        died = asyncio.create_task(nats.process.wait(), name="nats-server")
        try:
            await asyncio.wait({stop, died}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            died.cancel()
        if not stop.done():
            console.say("child_died", level="error", child="nats-server", exit_code=nats.process.returncode)
            await nats.start_again()


async def _start(cluster: _Cluster, shared: plan.Shared) -> None:
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
    """Run until a signal; returns the exit code."""
    console = LogConsole(options.log_format)
    try:
        with data_directory(options.data) as data:
            _check_port(options)  # the most likely mistake is told before anything starts
            asyncio.run(_run(options, data, console))
    except HushgateError as exc:
        sys.stderr.write(f"hushgate: {exc}\n")
        return 1
    return 0
