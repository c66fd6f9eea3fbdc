import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.signaling.core.turn import (
    Relays,
    checked_secret,
    checked_url,
    extension,
    ice_server,
    links,
    name_of,
    window,
)

SECRET = b"north-north-north-north"
URLS = ("turn:turn.example.com:3478?transport=udp", "turns:turn.example.com:443?transport=tcp")
RELAYS = Relays(URLS, ttl_s=7200)


def test_a_username_tells_when_it_expires_and_the_password_is_its_signature() -> None:
    server = ice_server(RELAYS, SECRET, name="abc", now_unix_s=1_700_000_000)
    # printf '1700007200:abc' | openssl dgst -sha1 -hmac 'north-north-north-north' -binary | base64
    assert (server.username, server.credential) == ("1700007200:abc", "Tq9/aTkPTJKc+n3+zH8F37VZfNg=")


def test_a_name_is_the_same_for_the_same_and_tells_nobody_for_what() -> None:
    assert name_of(SECRET, "token a") == name_of(SECRET, "token a")
    names = {name_of(secret, identity) for secret in (SECRET, b"south" * 4) for identity in ("token a", "call a")}
    assert len(names) == 4
    assert all(re.fullmatch(r"[\w-]{12}", name) for name in names)


@given(st.integers(60, 172_800), st.integers(0, 2**33))
def test_a_window_ends_within_its_length_and_not_before_now(ttl_s: int, now: int) -> None:
    end = window(ttl_s, now_unix_s=now)
    assert 0 < end - now <= ttl_s
    assert window(ttl_s, now_unix_s=end - 1) == end
    assert window(ttl_s, now_unix_s=end) == end + ttl_s


def test_the_password_is_in_no_representation_of_the_server() -> None:
    server = ice_server(RELAYS, SECRET, name="abc", now_unix_s=0)
    assert server.credential not in repr(server)


@pytest.mark.parametrize(("only", "policy"), [(False, "all"), (True, "relay")])
def test_a_browser_gets_servers_and_policy_in_its_own_shapes(only: bool, policy: str) -> None:  # noqa: FBT001 - a case
    relays = Relays(URLS, ttl_s=60, only=only)
    server = ice_server(relays, SECRET, name="abc", now_unix_s=0)
    entry = {"urls": list(URLS), "username": "60:abc", "credential": server.credential}
    assert extension(relays, server) == {"ice_servers": [entry], "ice_transport_policy": policy}


def test_whip_gets_a_link_for_each_url() -> None:
    server = ice_server(RELAYS, SECRET, name="abc", now_unix_s=0)
    parts = 'rel="ice-server"; username="7200:abc"; credential="{}"; credential-type="password"'
    assert links(server) == [f"<{url}>; {parts.format(server.credential)}" for url in URLS]
    assert all(re.fullmatch(r"[\x20-\x7e]+", link) for link in links(server))


@pytest.mark.parametrize(
    "url", [*URLS, "turn:192.0.2.1", "turn:[2001:db8::1]:3478", "turns:a", "turn:turn.example.com:65535"]
)
def test_urls_of_turn_servers_are_taken_as_they_are(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "stun:stun.example.com",
        "https://turn.example.com",
        "turn://turn.example.com",
        "turn:user@turn.example.com",
        "turn:turn.example.com:0",
        "turn:turn.example.com:65536",
        "turn:turn.example.com?transport=sctp",
        "turn:turn.example.com>; rel=x",
        "turn:turn.example.com\r\n",
        "turn:.example.com",
    ],
)
def test_what_is_no_url_of_a_turn_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="turn:HOST"):
        checked_url(url)


def test_white_space_around_a_secret_is_not_part_of_it() -> None:
    assert checked_secret(b"  " + SECRET + b"\n") == SECRET


@pytest.mark.parametrize("text", [b"", b"\n", b"short", b" " * 40])
def test_a_secret_that_can_be_guessed_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="openssl"):
        checked_secret(text)
