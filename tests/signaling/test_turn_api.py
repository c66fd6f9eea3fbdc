"""TURN servers as clients receive them: in mint responses and in WHIP's `Link` headers."""

import re
from pathlib import Path

import httpx
import pytest
from openai.types.realtime import ClientSecretCreateResponse

from services.contracts.connect import WebRtcAnswer
from services.contracts.messages import OfferAnswered
from services.runtime import clock
from services.runtime.errors import SettingsError
from services.runtime.process.settings import load
from services.signaling.app import turn_credentials
from services.signaling.core import turn
from services.signaling.settings import SignalingSettings
from services.signaling.turn_credentials import TurnSecretError
from tests.signaling.fixture_types import AddMedia, OpenSignaling
from tests.signaling.page import PAGE_SECRET, page_headers

SECRETS, WHIP = "/v1/realtime/client_secrets", "/v1/whip"
SECRET = b"s" * 32
URLS = ("turn:turn.example.com:3478?transport=udp", "turns:turn.example.com:443?transport=tcp")
LINK = re.compile(
    r'<(?P<url>[^>]+)>; rel="ice-server"; username="(?P<username>\d+:[\w-]{12})"; '
    r'credential="(?P<credential>[A-Za-z0-9+/=]{28})"; credential-type="password"'
)


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "turn-secret"
    path.write_bytes(SECRET + b"\n")
    return path


@pytest.fixture
def settings(tenants_path: Path, secret_file: Path) -> SignalingSettings:
    return SignalingSettings(
        tenants_file=tenants_path,
        demo_tenant="acme",
        page_secret=PAGE_SECRET,
        turn_urls=URLS,
        turn_secret_file=secret_file,
        turn_only=True,
    )


def made_with(username: str, secret: bytes) -> str:
    """Return the credential of a username."""
    expiry, _, name = username.partition(":")
    relays = turn.Relays(URLS, ttl_s=0)
    return turn.ice_server(relays, secret, name=name, now_unix_s=int(expiry)).credential


async def minted(client: httpx.AsyncClient, key: str) -> dict[str, str]:
    server: dict[str, str] = (await client.post(SECRETS, headers=bearer(key))).json()["hushgate"]["ice_servers"][0]
    return server


async def test_a_token_comes_with_relays_and_a_stock_client_reads_it_still(client: httpx.AsyncClient, key: str) -> None:
    before = clock.unix_ms() // 1000
    reply = await client.post(SECRETS, headers=bearer(key))
    assert ClientSecretCreateResponse.model_validate(reply.json(), strict=True).value.startswith("ek_")
    extension = reply.json()["hushgate"]
    assert extension["ice_transport_policy"] == "relay"
    (server,) = extension["ice_servers"]
    assert server["urls"] == list(URLS)
    assert before + 7200 <= int(server["username"].partition(":")[0]) <= clock.unix_ms() // 1000 + 7200
    assert server["credential"] == made_with(server["username"], SECRET)


async def test_each_token_has_a_credential_of_its_own_that_names_nobody(client: httpx.AsyncClient, key: str) -> None:
    first, second = [await minted(client, key) for _ in range(2)]
    assert first["username"].partition(":")[2] != second["username"].partition(":")[2]
    assert "acme" not in first["username"]


def users(reply: httpx.Response) -> set[str]:
    """The TURN users that the headers of a WHIP answer name."""
    found = [LINK.fullmatch(link) for link in reply.headers.get_list("link")]
    return {str(link and link["username"]) for link in found}


async def test_one_token_has_one_user_however_often_and_wherever_it_asks(
    client: httpx.AsyncClient, open_signaling: OpenSignaling, add_media: AddMedia, key: str, offer: str
) -> None:
    another = await open_signaling()
    reply = await client.post(SECRETS, headers=bearer(key))
    token, (server,) = reply.json()["value"], reply.json()["hushgate"]["ice_servers"]
    asked = [await endpoint.options(WHIP, headers=bearer(token)) for _ in range(150) for endpoint in (client, another)]
    assert {each.status_code for each in asked} == {200}
    assert set().union(*(users(each) for each in asked)) == {server["username"]}
    await add_media("media-0", OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n")))
    begun = await client.post(WHIP, content=offer, headers={**bearer(token), "Content-Type": "application/sdp"})
    assert (begun.status_code, users(begun)) == (201, {server["username"]})


async def test_a_tenants_own_key_has_one_user_a_window_and_one_a_call(
    client: httpx.AsyncClient, add_media: AddMedia, key: str, other_key: str, offer: str
) -> None:
    before = clock.unix_ms() // 1000
    asked = set().union(*[users(await client.options(WHIP, headers=bearer(key))) for _ in range(300)])
    assert len(asked) <= 2  # the window may have ended meanwhile
    assert all(before + 7200 < int(user.partition(":")[0]) <= before + 2 * 7200 + 60 for user in asked)
    assert asked.isdisjoint(users(await client.options(WHIP, headers=bearer(other_key))))
    await add_media("media-0", OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n")))
    headers = {**bearer(key), "Content-Type": "application/sdp"}
    calls = [users(await client.post(WHIP, content=offer, headers=headers)) for _ in range(3)]
    assert len(set().union(*calls) - asked) == 3


async def test_the_page_gets_them_too(client: httpx.AsyncClient) -> None:
    reply = await client.post("/demo/token", headers=page_headers("http://127.0.0.1:8080"))
    assert reply.json()["hushgate"]["ice_servers"][0]["urls"] == list(URLS)


async def test_without_turn_servers_a_token_has_nothing_of_ours(
    open_signaling: OpenSignaling, tenants_path: Path, key: str, offer: str, add_media: AddMedia
) -> None:
    client = await open_signaling(SignalingSettings(tenants_file=tenants_path))
    await add_media("media-0", OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n")))
    assert set((await client.post(SECRETS, headers=bearer(key))).json()) == {"value", "expires_at", "session"}
    reply = await client.post(WHIP, content=offer, headers={**bearer(key), "Content-Type": "application/sdp"})
    assert (reply.status_code, "link" in reply.headers) == (201, False)
    assert "link" not in (await client.options(WHIP, headers=bearer("x"))).headers


async def test_a_whip_session_is_told_of_the_relays(
    client: httpx.AsyncClient, key: str, offer: str, add_media: AddMedia
) -> None:
    await add_media("media-0", OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n")))
    reply = await client.post(WHIP, content=offer, headers={**bearer(key), "Content-Type": "application/sdp"})
    assert reply.status_code == 201
    found = [LINK.fullmatch(link) for link in reply.headers.get_list("link")]
    assert [link and link["url"] for link in found] == list(URLS)
    assert all(link and link["credential"] == made_with(link["username"], SECRET) for link in found)


async def test_options_tell_them_to_who_could_make_a_call_and_use_up_nothing(
    client: httpx.AsyncClient, key: str, offer: str, add_media: AddMedia
) -> None:
    await add_media("media-0", OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n")))
    token = (await client.post(SECRETS, headers=bearer(key))).json()["value"]
    for good in (key, token):
        reply = await client.options(WHIP, headers=bearer(good))
        assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-store")
        assert len(reply.headers.get_list("link")) == len(URLS)
    used = await client.post(WHIP, content=offer, headers={**bearer(token), "Content-Type": "application/sdp"})
    assert used.status_code == 201
    assert (await client.options(WHIP, headers=bearer(token))).status_code == 401


async def test_options_tell_nobody_else(client: httpx.AsyncClient) -> None:
    plain = await client.options(WHIP)
    assert (plain.status_code, "link" in plain.headers) == (200, False)
    wrong = await client.options(WHIP, headers=bearer("hg_" + "z" * 43))
    assert (wrong.status_code, "link" in wrong.headers) == (401, False)


def replace(path: Path, text: bytes | None) -> None:
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text)


async def refused_secrets(client: httpx.AsyncClient) -> float:
    text = (await client.get("/metrics")).text
    return float(re.findall(r"^hushgate_turn_secret_errors_total (\S+)", text, re.MULTILINE)[0])


async def test_a_renewed_secret_is_taken_and_a_broken_one_is_not(
    client: httpx.AsyncClient, key: str, secret_file: Path
) -> None:
    before = await refused_secrets(client)
    for text in (b"t" * 32, b"", None):
        replace(secret_file, text)
        server = await minted(client, key)
        assert server["credential"] == made_with(server["username"], b"t" * 32)
    assert await refused_secrets(client) == before + 2


@pytest.mark.parametrize("text", [None, "short"])
def test_a_start_without_a_secret_names_the_file(tenants_path: Path, tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "secret"
    if text is not None:
        path.write_text(text)
    settings = SignalingSettings(tenants_file=tenants_path, turn_urls=URLS, turn_secret_file=path)
    with pytest.raises(TurnSecretError, match=str(path)):
        turn_credentials(settings)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"SIGNALING_TURN_URLS": '["turn:turn.example.com"]'}, "SIGNALING_TURN_SECRET_FILE"),
        ({"SIGNALING_TURN_SECRET_FILE": "/turn"}, "SIGNALING_TURN_URLS"),
        ({"SIGNALING_TURN_ONLY": "true"}, "SIGNALING_TURN_URLS"),
        ({"SIGNALING_TURN_URLS": '["stun:x"]', "SIGNALING_TURN_SECRET_FILE": "/turn"}, "turn:HOST"),
        ({"SIGNALING_TURN_URLS": "turn:turn.example.com", "SIGNALING_TURN_SECRET_FILE": "/turn"}, "JSON"),
        ({"SIGNALING_TURN_TTL_S": "59"}, "SIGNALING_TURN_TTL_S"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], named: str
) -> None:
    monkeypatch.setenv("SIGNALING_TENANTS_FILE", "/tenants.json")
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=named):
        load(SignalingSettings)
