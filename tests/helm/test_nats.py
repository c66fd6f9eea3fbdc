"""Each process has its own user on the bus, with the permissions it needs: in the chart and in `hushgate up`."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from prometheus_client import REGISTRY

from services.callers.__main__ import RECORDED
from services.callers.conversation import ScriptedLine, converse
from services.callers.speech import read_wav
from services.contracts import subjects
from services.contracts.messages import Done
from services.contracts.permissions import permissions
from services.contracts.subjects import ServiceRole
from services.runtime.bus.client import Bus
from services.runtime.bus.streams import (
    Share,
    access_bucket,
    bound,
    ensure_calls_stream,
    ensure_placed_stream,
    ensure_usage_stream,
    grants_bucket,
    leases_bucket,
    rates_bucket,
)
from services.runtime.errors import BusUnavailableError, RequestTimeoutError
from services.runtime.process.settings import NatsLogin
from services.up.nats_server import Identity, nats_server
from tests.helm import release, table
from tests.helm.chart import RenderedChart, render
from tests.helm.table import ACME, ROLES, ROWS

TWO = {
    "media": {"replicas": 2, "processes": 2},
    "upstream": {"replicas": 2, "autoscaling": {"enabled": False}},
}
MINE = {
    "signaling": "signaling",
    "media": "hushgate-media-0-1",
    "upstream": "hushgate-upstream-1",
    "metering": "metering",
}
OTHERS = {
    "signaling": "metering",
    "media": "hushgate-media-0-0",
    "upstream": "hushgate-upstream-0",
    "metering": "signaling",
}


async def test_a_call_goes_through_to_the_ledger_with_what_the_chart_lets_each_service_do(tmp_path: Path) -> None:
    recorded = render({"rehearsal": {"settings": {"REHEARSAL_VOICE": "echo"}}})
    async with release.running(recorded, tmp_path) as here:
        line = ScriptedLine("what time is it", read_wav(RECORDED))
        account = await converse(here.url, here.tenant_key, [line], session={"type": "realtime"}, answer_timeout_s=30)
        assert account.usage is not None
        assert account.usage["status"] == "ended"
        assert account.usage["lines"]
        assert not here.log.named("bus_error")
        assert not here.log.named("usage_quarantined")


@dataclass(frozen=True)
class Server:
    """A server with all identities, configured by the chart or by `hushgate up`."""

    url: str
    login: Callable[[str], NatsLogin]


@asynccontextmanager
async def by_the_chart(folder: Path) -> AsyncIterator[Server]:
    rendered = render(TWO)
    async with release.nats(rendered, folder / "nats") as url:
        yield Server(url, lambda user: release.login(rendered, user))


@asynccontextmanager
async def by_up(folder: Path) -> AsyncIterator[Server]:
    names = {(role, names[role]) for names in (MINE, OTHERS) for role in ("media", "upstream")}
    identities = [Identity(role, name) for role, name in [("signaling", "signaling"), ("metering", "metering"), *names]]  # type: ignore[arg-type]
    async with nats_server(folder, identities=identities) as server:
        yield Server(server.address, lambda user: NatsLogin(user, server.password_file(user).read_text()))


@pytest.fixture(params=[by_the_chart, by_up])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    async with request.param(tmp_path) as running:
        yield running


class Tried:
    """A connection that records what the server refuses."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._errors: asyncio.Queue[str] = asyncio.Queue()

    async def on_error(self, error: Exception) -> None:
        self._errors.put_nowait(str(error))

    async def publish(self, subject: str) -> None:
        await self._client.publish(subject, b"x")

    async def subscribe(self, subject: str, *, queue: str = "") -> None:
        await self._client.subscribe(subject, queue=queue)

    async def refused(self) -> set[tuple[str, str]]:
        """Return what was refused so far: all before a last attempt that must be refused, as replies are in order."""
        await self.publish("the.end")
        found: set[tuple[str, str]] = set()
        async with asyncio.timeout(10):
            while ("publish", "the.end") not in found:
                violation = re.match(r'nats: permissions violation for (\S+) to "(.*?)"', await self._errors.get())
                assert violation is not None
                found.add(("publish" if violation[1] == "publish" else "subscribe", violation[2]))
        return found - {("publish", "the.end")}


@asynccontextmanager
async def trying(server: Server, user: str) -> AsyncIterator[Tried]:
    client = Client()
    tried = Tried(client)
    login = server.login(user)
    await client.connect(
        server.url, user=login.user, password=login.password, error_cb=tried.on_error, allow_reconnect=False
    )
    try:
        yield tried
    finally:
        await client.close()


def test_every_subject_has_a_row() -> None:
    assert table.named() <= {name.partition(",")[0] for name in ROWS}


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_sends_nothing_that_is_not_its_own(role: ServiceRole, server: Server) -> None:
    me, other = MINE[role], OTHERS[role]
    allowed: dict[str, bool] = {}
    async with trying(server, me) as tried:
        for row in ROWS.values():
            for process in (me, other):
                subject, own = row.of(process), process == me or row.of(me) == row.of(other)
                if not set("*>") & set(subject):  # nobody publishes on a wildcard
                    allowed[subject] = role in (row.publish if own else row.any_publish)
                    await tried.publish(subject)
        refused = await tried.refused()
    # The client gives it in small letters.
    assert refused == {("publish", subject.lower()) for subject, may in allowed.items() if not may}


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_hears_nothing_that_is_not_its_own(role: ServiceRole, server: Server) -> None:
    me, other = MINE[role], OTHERS[role]
    allowed: dict[str, bool] = {}
    async with trying(server, me) as tried:
        for row in ROWS.values():
            for process in (me, other):
                subject, own = row.of(process), process == me or row.of(me) == row.of(other)
                allowed[subject] = role in (row.subscribe if own else row.any_subscribe)
                await tried.subscribe(subject)
        refused = await tried.refused()
    assert refused == {("subscribe", subject.lower()) for subject, may in allowed.items() if not may}


async def test_claims_are_heard_in_the_queue_group_only(server: Server) -> None:
    async with trying(server, MINE["upstream"]) as tried:
        await tried.subscribe(subjects.CLAIMS, queue=subjects.UPSTREAM_QUEUE)
        assert await tried.refused() == set()
        await tried.subscribe(subjects.CLAIMS, queue="mine")
        assert await tried.refused() == {("subscribe", subjects.CLAIMS)}


def test_the_chart_lets_each_user_do_what_the_code_says() -> None:
    rendered = render(TWO)
    config = rendered.one("ConfigMap", "nats")["data"]["nats.conf"]
    found = {
        name: [
            sorted(re.findall(r'"([^"]+)"', part))
            for part in re.findall(r"(?:publish|subscribe): \[(.*?)\]", body, re.DOTALL)
        ]
        + ["allow_responses" in body]
        for name, body in re.findall(r'user: "(\S+)".*?permissions \{(.*?)\n      \}', config, re.DOTALL)
    }
    roles = {**{f"hushgate-media-{p}-{n}": "media" for p in range(8) for n in (0, 1)}}
    roles |= {f"hushgate-upstream-{p}": "upstream" for p in range(8)} | {
        "signaling": "signaling",
        "metering": "metering",
    }
    assert found.keys() == roles.keys()
    for name, role in roles.items():
        allowed = permissions(role, name)  # type: ignore[arg-type]
        assert found[name] == [sorted(allowed.publish), sorted(allowed.subscribe), allowed.answers]


async def test_a_purge_by_media_leaves_the_usage_where_it_is_and_is_counted(server: Server) -> None:
    name, kind = "hushgate_bus_errors_total", {"kind": "PermissionsViolation"}
    before = REGISTRY.get_sample_value(name, kind) or 0
    media = MINE["media"]
    async with (
        Bus.connect(server.url, name="metering", login=server.login("metering")) as metering,
        Bus.connect(server.url, name="media", login=server.login(media)) as bus,
    ):
        await ensure_usage_stream(metering.jetstream)
        await bus.jetstream.publish(subjects.usage("media", media, ACME), b"{}")
        with pytest.raises(RequestTimeoutError):  # the server complains to the connection, and answers nothing
            await bus.request("$JS.API.STREAM.PURGE.USAGE", Done(), timeout_s=0.3)
        assert (await metering.jetstream.stream_info(subjects.USAGE_STREAM)).state.messages == 1
    assert (REGISTRY.get_sample_value(name, kind) or 0) > before


async def test_media_cannot_read_a_grant(server: Server) -> None:
    async with Bus.connect(server.url, name="signaling", login=server.login("signaling")) as bus:
        await (await grants_bucket(bus.jetstream)).put("k", b"a grant", ttl_s=60)
    async with Bus.connect(server.url, name="media", login=server.login(MINE["media"])) as bus:
        for subject in ("$JS.API.DIRECT.GET.KV_grants.$KV.grants.k", "$JS.API.STREAM.MSG.GET.KV_grants"):
            with pytest.raises(RequestTimeoutError):
                await bus.request(subject, Done(), timeout_s=0.3)


@pytest.mark.parametrize(
    ("size", "store_mb"), [("4Gi", 3072), ("64Mi", 48), ("1Ti", 786_432), ("1000M", 715), ("2G", 1430)]
)
def test_the_store_is_three_quarters_of_the_volume_and_all_services_know_it(size: str, store_mb: int) -> None:
    rendered = render({"nats": {"persistence": {"size": size}}})
    config = rendered.one("ConfigMap", "nats")["data"]["nats.conf"]
    assert f"max_file_store: {store_mb * 1024 * 1024}\n" in config
    for role in ROLES:
        assert rendered.environment(role)[f"{role.upper()}_NATS_STORE_MB"] == str(store_mb)


async def test_each_role_gives_what_is_its_own_the_bound_of_the_store(server: Server) -> None:
    def connected(role: str) -> AbstractAsyncContextManager[Bus]:
        return Bus.connect(server.url, name=role, login=server.login(MINE[role]), store_mb=100)

    async with connected("upstream") as bus:  # with the bounds of another size, first
        await leases_bucket(bus.jetstream, store_mb=200)
        await leases_bucket(bus.jetstream, store_mb=100)
        await rates_bucket(bus.jetstream, store_mb=200)
        await rates_bucket(bus.jetstream, store_mb=100)
    async with connected("metering") as bus:
        for share, ensure in (
            (Share.USAGE, ensure_usage_stream),
            (Share.CALLS, ensure_calls_stream),
            (Share.PLACED, ensure_placed_stream),
        ):
            await ensure(bus.jetstream, store_mb=200)
            await ensure(bus.jetstream, store_mb=100, adjust=True)
            assert (await bus.jetstream.stream_info(share)).config.max_bytes == bound(share, 100)
    async with connected("signaling") as bus:
        for make in (grants_bucket, access_bucket):
            await make(bus.jetstream, store_mb=200)
            bucket = await make(bus.jetstream, store_mb=100)
            revision = await bucket.create("k", b"v", ttl_s=60)
            await bucket.update("k", b"w", last=revision, ttl_s=60)
            await bucket.remove("k")


@pytest.mark.parametrize("login", [None, NatsLogin("hushgate-media-0-0", "wrong"), NatsLogin("media", "p")], ids=str)
async def test_without_its_password_nobody_is_let_in(login: NatsLogin | None, server: Server) -> None:
    with pytest.raises(BusUnavailableError, match=r"(?i)authorization"):
        async with Bus.connect(server.url, name="stranger", login=login, wait_s=1):
            pass


def test_a_container_sees_the_passwords_of_its_own_pod_only() -> None:
    rendered: RenderedChart = render(TWO)
    for role, prefix in (("media", "MEDIA"), ("upstream", "UPSTREAM")):
        pod = rendered.pod(role)
        (container,) = pod["containers"]
        (mount,) = [each for each in container["volumeMounts"] if each["name"] == "bus"]
        assert mount["subPathExpr"] == f"$({prefix}_PROCESS_ID)"
        assert rendered.environment(role)[f"{prefix}_NATS_PASSWORD_FILE"] == f"{mount['mountPath']}/nats-password"
        (volume,) = [each for each in pod["volumes"] if each["name"] == "bus"]
        for item in volume["secret"]["items"]:
            name, file = item["path"].split("/")
            assert item["key"] in rendered.secret("nats")
            user = name + file.removeprefix("nats-password")
            assert release.users(rendered)[user] == item["key"]
    secret = json.dumps(rendered.secret("nats"))
    assert len(set(json.loads(secret).values())) == len(json.loads(secret)) == 2 + 8 * 2 + 8


@pytest.mark.parametrize(
    ("values", "pods"),
    [
        ({}, 8),
        ({"media": {"replicas": 9}}, 9),
        ({"media": {"autoscaling": {"enabled": True, "maxReplicas": 12}}}, 12),
        ({"nats": {"auth": {"existingSecret": "bus"}}}, 1),
    ],
)
def test_pods_that_kubectl_scale_adds_have_passwords_up_to_eight_unless_the_passwords_are_given(
    values: dict[str, Any], pods: int
) -> None:
    config = render(values).one("ConfigMap", "nats")["data"]["nats.conf"]
    assert re.findall(r'user: "(hushgate-media-\d+)"', config) == [f"hushgate-media-{number}" for number in range(pods)]
