"""Each service has its own user on the bus, and may do what it does and no more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from nats.aio.client import Client
from prometheus_client import REGISTRY

from services.callers.__main__ import RECORDED
from services.callers.conversation import Line, converse
from services.callers.speech import read_wav
from services.contracts import subjects
from services.contracts.ids import TenantId
from services.contracts.messages import Done
from services.runtime.bus import Bus
from services.runtime.errors import BusUnavailableError, RequestTimeoutError
from services.runtime.settings import NatsLogin
from services.runtime.streams import (
    Share,
    access_bucket,
    bound,
    ensure_calls_stream,
    ensure_usage_stream,
    grants_bucket,
    leases_bucket,
)
from tests.helm import release
from tests.helm.chart import Rendered, render


async def test_a_call_goes_through_to_the_ledger_with_what_the_chart_lets_each_service_do(tmp_path: Path) -> None:
    recorded = render({"rehearsal": {"settings": {"REHEARSAL_VOICE": "echo"}}})
    async with release.running(recorded, tmp_path) as here:
        line = Line("what time is it", read_wav(RECORDED))
        account = await converse(here.url, here.tenant_key, [line], session={"type": "realtime"}, answer_timeout_s=30)
        assert account.usage is not None
        assert account.usage["status"] == "ended"
        assert account.usage["lines"]
        assert not here.log.named("bus_error")


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    return render()


@pytest.fixture
async def url(rendered: Rendered, tmp_path: Path) -> AsyncIterator[str]:
    async with release.nats(rendered, tmp_path / "nats") as found:
        yield found


async def violation(url: str, login: NatsLogin, *, publish: str = "", subscribe: str = "") -> str:
    """What the server says to a user who tries what it may not.

    Raises:
        TimeoutError: nothing; it lets it.
    """
    said: asyncio.Queue[str] = asyncio.Queue()

    async def on_error(error: Exception) -> None:
        said.put_nowait(str(error))

    client = Client()
    await client.connect(url, user=login.user, password=login.password, error_cb=on_error, allow_reconnect=False)
    try:
        if publish:
            await client.publish(publish, b"x")
        else:
            await client.subscribe(subscribe)
        await client.flush()
        async with asyncio.timeout(5):
            return await said.get()
    finally:
        await client.close()


def refused(kind: str, subject: str) -> str:
    return f'nats: permissions violation for {kind} to "{subject}"'.lower()  # the client gives it in small letters


OTHERS_INBOXES = {role: [f"_INBOX_{other}.>" for other in release.ROLES if other != role] for role in release.ROLES}
FORBIDDEN_TO_ALL = (
    "$JS.API.STREAM.PURGE.USAGE",
    "$JS.API.STREAM.DELETE.USAGE",
    "$JS.API.STREAM.MSG.DELETE.USAGE",
    "$JS.API.STREAM.CREATE.MINE",
    "$JS.API.STREAM.PURGE.KV_grants",
    "$SYS.REQ.SERVER.PING",
)
FORBIDDEN = {
    "signaling": (
        "$JS.API.STREAM.UPDATE.USAGE",
        "hg.usage.acme",
        "hg.calls.ended",
        "hg.up.w.c",
        "hg.down.p.c",
        "hg.watermark.s",
        "$KV.leases.c",
    ),
    "media": (
        "$JS.API.STREAM.UPDATE.USAGE",
        "$JS.API.STREAM.UPDATE.KV_grants",
        "$KV.grants.k",
        "$KV.access.k",
        "$JS.API.STREAM.MSG.GET.KV_grants",
        "$JS.API.DIRECT.GET.KV_grants.k",
        "$JS.API.CONSUMER.CREATE.KV_grants.mine",
        "$JS.API.CONSUMER.CREATE.USAGE.mine",
        "hg.media.other-0.offer",
        "hg.call.c.control",
        "hg.watermark.s",
        "hg.down.p.c",
        "_INBOX_signaling.x",
    ),
    "upstream": (
        "$JS.API.STREAM.UPDATE.USAGE",
        "$KV.access.k",
        "$KV.grants.k",
        "$JS.API.DIRECT.GET.KV_grants.k",
        "hg.calls.ended",
        "hg.watermark.s",
        "hg.up.w.c",
    ),
    "metering": (
        "$JS.API.STREAM.UPDATE.KV_leases",
        "$KV.access.k",
        "hg.usage.acme",
        "hg.calls.ended",
        "$KV.grants.k",
        "$KV.leases.c",
        "hg.claim",
        "hg.media.p.offer",
    ),
}
DEAF_TO = {
    "signaling": ("hg.usage.*", "hg.up.*.*", "hg.down.*.*", "hg.media.*.offer", "hg.claim", "$KV.>"),
    "media": ("hg.usage.*", "hg.up.*.*", "hg.claim", "$KV.>", "hg.calls.*"),
    "upstream": ("hg.usage.*", "hg.down.*.*", "hg.media.*.offer", "hg.call.*.control", "$KV.>"),
    "metering": ("hg.up.*.*", "hg.down.*.*", "hg.media.*.offer", "$KV.>", "hg.usage.*"),
}


@pytest.mark.parametrize("role", release.ROLES)
async def test_a_role_sends_nothing_that_is_not_its_own(role: str, rendered: Rendered, url: str) -> None:
    login = release.login(rendered, role)
    for subject in FORBIDDEN_TO_ALL + FORBIDDEN[role]:
        assert await violation(url, login, publish=subject) == refused("publish", subject)


@pytest.mark.parametrize("role", release.ROLES)
async def test_a_role_hears_nothing_that_is_not_its_own(role: str, rendered: Rendered, url: str) -> None:
    login = release.login(rendered, role)
    for subject in (">", "_INBOX.>", *OTHERS_INBOXES[role], *DEAF_TO[role]):
        assert await violation(url, login, subscribe=subject) == refused("subscription", subject)


async def test_a_purge_by_media_leaves_the_usage_where_it_is_and_is_counted(rendered: Rendered, url: str) -> None:
    name, kind = "hushgate_bus_errors_total", {"kind": "PermissionsViolation"}
    before = REGISTRY.get_sample_value(name, kind) or 0
    async with Bus.connect(url, name="media", login=release.login(rendered, "media")) as bus:
        await ensure_usage_stream(bus.jetstream)
        await bus.jetstream.publish(subjects.usage(TenantId("acme")), b"{}")
        with pytest.raises(RequestTimeoutError):  # the server complains to the connection, and answers nothing
            await bus.request("$JS.API.STREAM.PURGE.USAGE", Done(), timeout_s=0.3)
        assert (await bus.jetstream.stream_info(subjects.USAGE_STREAM)).state.messages == 1
    assert (REGISTRY.get_sample_value(name, kind) or 0) > before


async def test_media_cannot_read_a_grant(rendered: Rendered, url: str) -> None:
    async with Bus.connect(url, name="signaling", login=release.login(rendered, "signaling")) as bus:
        await (await grants_bucket(bus.jetstream)).put("k", b"a grant", ttl_s=60)
    async with Bus.connect(url, name="media", login=release.login(rendered, "media")) as bus:
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
    for role in release.ROLES:
        assert rendered.environment(role)[f"{role.upper()}_NATS_STORE_MB"] == str(store_mb)


async def test_each_role_gives_what_is_its_own_the_bound_of_the_store(rendered: Rendered, url: str) -> None:
    def connected(role: str) -> AbstractAsyncContextManager[Bus]:
        return Bus.connect(url, name=role, login=release.login(rendered, role), store_mb=100)

    async with connected("upstream") as bus:  # with the bounds of another size, first
        await ensure_usage_stream(bus.jetstream, store_mb=200)
        await leases_bucket(bus.jetstream, store_mb=200)
        await leases_bucket(bus.jetstream, store_mb=100)
    async with connected("metering") as bus:
        await ensure_usage_stream(bus.jetstream, store_mb=100, adjust=True)
        await ensure_calls_stream(bus.jetstream, store_mb=100, adjust=True)
        info = await bus.jetstream.stream_info("USAGE")
        assert info.config.max_bytes == bound(Share.USAGE, 100)
    async with connected("signaling") as bus:
        for make in (grants_bucket, access_bucket):
            await make(bus.jetstream, store_mb=200)
            bucket = await make(bus.jetstream, store_mb=100)
            revision = await bucket.create("k", b"v", ttl_s=60)
            await bucket.update("k", b"w", last=revision, ttl_s=60)
            await bucket.remove("k")


@pytest.mark.parametrize("login", [None, NatsLogin("media", "wrong"), NatsLogin("admin", "p")], ids=str)
async def test_without_its_password_nobody_is_let_in(login: NatsLogin | None, url: str) -> None:
    with pytest.raises(BusUnavailableError, match=r"(?i)authorization"):
        async with Bus.connect(url, name="stranger", login=login, wait_s=1):
            pass
