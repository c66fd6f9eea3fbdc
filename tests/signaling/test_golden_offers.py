"""Serialised offers of real clients keep what a call needs. The output format is tested in test_sdp.py."""

import json
import re
from pathlib import Path

import pytest

from services.signaling.core import sdp, whip

_FOLDER = Path(__file__).parent / "golden"
OFFERS: dict[str, dict[str, list[str]]] = json.loads((_FOLDER / "offers.json").read_text())
WHIP_OFFERS: dict[str, dict[str, list[str]]] = json.loads((_FOLDER / "whip_offers.json").read_text())
ALL = [*OFFERS.values(), *WHIP_OFFERS.values()]
NAMES = [*OFFERS, *(f"whip {name}" for name in WHIP_OFFERS)]
LEVEL = r"a=extmap:(\d+) urn:ietf:params:rtp-hdrext:ssrc-audio-level"


def values(lines: list[str], pattern: str) -> list[str]:
    return [found[1] for line in lines if (found := re.fullmatch(pattern, line))]


def only(found: list[str]) -> str:
    assert len(set(found)) == 1
    return found[0]


def opus_parameters(lines: list[str]) -> set[str]:
    payload_type = only(values(lines, r"a=rtpmap:(\d+) opus/48000/2"))
    return set(only(values(lines, rf"a=fmtp:{payload_type} (.*)") or [""]).split(";"))


@pytest.mark.parametrize("golden", ALL, ids=NAMES)
@pytest.mark.parametrize(
    "pattern",
    [
        "a=mid:(.*)",
        "a=ice-ufrag:(.*)",
        "a=ice-pwd:(.*)",
        "a=setup:(.*)",
        r"a=sctp-port:(\d+)",
        r"a=rtpmap:(\d+) opus.*",
        LEVEL,
    ],
)
def test_what_a_call_needs_is_kept(golden: dict[str, list[str]], pattern: str) -> None:
    sent, written = values(golden["offer"], pattern), values(golden["sanitised"], pattern)
    assert written == sent


@pytest.mark.parametrize("golden", ALL, ids=NAMES)
def test_opus_keeps_its_parameters(golden: dict[str, list[str]]) -> None:
    assert opus_parameters(golden["sanitised"]) == opus_parameters(golden["offer"])


@pytest.mark.parametrize("golden", ALL, ids=NAMES)
def test_each_section_has_the_fingerprint(golden: dict[str, list[str]]) -> None:
    sent = only(values(golden["offer"], "a=fingerprint:sha-256 (.*)"))
    sections = sum(line.startswith("m=") for line in golden["offer"])
    assert values(golden["sanitised"], "a=fingerprint:sha-256 (.*)") == [sent] * sections


@pytest.mark.parametrize("golden", ALL, ids=NAMES)
def test_no_address_is_kept(golden: dict[str, list[str]]) -> None:
    written = "\n".join(golden["sanitised"])
    assert not re.search(r"candidate|\.local|192\.0\.2|fd00::|ssrc:|msid", written)


@pytest.mark.parametrize("name", WHIP_OFFERS)
def test_offers_of_whip_clients_are_written_anew_as_recorded(name: str) -> None:
    offer = whip.read_offer("\r\n".join(WHIP_OFFERS[name]["offer"]).encode())
    assert offer.serialise().split("\r\n") == WHIP_OFFERS[name]["sanitised"]
    assert offer.audio.direction == "sendonly"


@pytest.mark.parametrize(
    ("first", "second"),
    [("chromium with mDNS names", "chromium after restartIce"), ("firefox", "firefox after restartIce")],
)
def test_an_ice_restart_changes_the_ice_user_and_nothing_else(first: str, second: str) -> None:
    before, after = (sdp.parse("\r\n".join(OFFERS[name]["offer"]).encode()) for name in (first, second))
    assert before.transport.ufrag != after.transport.ufrag
    assert before.with_ice(after.transport.ufrag, after.transport.password) == after
