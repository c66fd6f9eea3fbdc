"""Hostile offers: attacks 4, 5 and 6 of docs/threat-model.md.

The tests check the responses; the bench measures the time.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_GOLDEN = json.loads((Path(__file__).parent / "golden" / "offers.json").read_text())
GOOD = "\r\n".join(_GOLDEN["chromium"]["offer"])
VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n"
INTERNAL = (
    "169.254.169.254",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "198.51.100.7",
    "fd00:ec2::254",
    "::1",
    "::ffff:169.254.169.254",
    "metadata.internal",
    "kubernetes.default.svc",
)
"""Addresses to which a pod must not send: metadata services, private networks, loopback, third parties, names."""


@dataclass(frozen=True, slots=True)
class OfferAttack:
    """An offer, and the status with which `POST /v1/realtime/calls` must refuse it."""

    name: str
    offer: bytes
    status: int


def pointing_inside() -> str:
    """Return a valid offer with every address of INTERNAL wherever SDP can have one."""
    candidates = "".join(
        f"a=candidate:{n} 1 {transport} {2122260223 - n} {address} 80 typ {kind} raddr {address} rport 80\r\n"
        for n, address in enumerate(INTERNAL)
        for transport, kind in (("udp", "host"), ("UDP", "srflx"), ("tcp", "relay"))
    )
    for line in ("a=mid:0\r\n", "a=mid:1\r\n", "t=0 0\r\n"):
        assert line in GOOD
    return (
        GOOD.replace("t=0 0\r\n", f"t=0 0\r\nc=IN IP4 {INTERNAL[0]}\r\n{candidates}")
        .replace("c=IN IP4 192.0.2.2", f"c=IN IP4 {INTERNAL[1]}")
        .replace("a=rtcp:9 IN IP4 0.0.0.0", f"a=rtcp:80 IN IP4 {INTERNAL[0]}")
        .replace("a=mid:0\r\n", f"a=mid:0\r\na=remote-candidates:1 {INTERNAL[0]} 80\r\n{candidates}")
        .replace("o=- 6017071211390771509 2 IN IP4 127.0.0.1", f"o={INTERNAL[-1]} 1 2 IN IP4 {INTERNAL[0]}")
    )


def _changed(change: Callable[[str], str]) -> bytes:
    changed = change(GOOD)
    assert changed != GOOD
    return changed.encode()


def _padded(line: str, count: int) -> bytes:
    return (GOOD + line * count).encode()


_CANDIDATE = "a=candidate:1 1 udp 2122260223 169.254.169.254 80 typ host\r\n"

BOMBS = (
    OfferAttack("over the cap", _padded("a=x:" + "y" * 1000 + "\r\n", 17), 413),
    OfferAttack("one long line", GOOD.encode() + b"a=" + b"y" * 12_000, 422),
    OfferAttack("5,000 candidates", _padded(_CANDIDATE, 5000), 413),
    OfferAttack("5,000 candidates of nothing", _padded("a=candidate:\r\n", 5000), 413),
    OfferAttack("200 sections", _padded(VIDEO, 200), 413),
    OfferAttack("200 short sections", _padded("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n", 200), 422),
    OfferAttack("no BUNDLE", _changed(lambda offer: offer.replace("a=group:BUNDLE 0 1\r\n", "")), 422),
    OfferAttack("BUNDLE of another section", _changed(lambda offer: offer.replace("BUNDLE 0 1", "BUNDLE 0 7")), 422),
    OfferAttack("video", _padded(VIDEO, 1), 422),
    OfferAttack("video alone", _changed(lambda offer: offer.partition("m=audio")[0] + VIDEO), 422),
    OfferAttack("a thousand formats", _changed(lambda offer: offer.replace(" 111 63", " 111 63" + " 96" * 1000)), 422),
)
"""Attack 5: offers that are expensive to parse, or ask for something unsupported."""

NONSENSE = (
    OfferAttack("empty", b"", 422),
    OfferAttack("v=0", b"v=0", 422),
    OfferAttack("v=0 and no more than a session", b"v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", 422),
    OfferAttack("NULs", b"\x00" * 4096, 422),
    OfferAttack("a NUL within", _changed(lambda offer: offer.replace("a=mid:0", "a=mid:\x000")), 422),
    OfferAttack("UTF-16", GOOD[:8000].encode("utf-16"), 422),
    OfferAttack("UTF-16 without a mark", GOOD[:8000].encode("utf-16-le"), 422),
    OfferAttack("a huge port", _changed(lambda offer: offer.replace("m=audio 37328", "m=audio 99999")), 422),
    OfferAttack("an endless port", _changed(lambda offer: offer.replace("m=audio 37328", "m=audio " + "9" * 900)), 422),
    OfferAttack("a negative port", _changed(lambda offer: offer.replace("m=audio 37328", "m=audio -1")), 422),
    OfferAttack("a lone CR", _changed(lambda offer: offer.replace("a=mid:0\r\n", "a=mid:0\ra=x\r\n")), 422),
    OfferAttack("lone CRs", _changed(lambda offer: offer.replace("\r\n", "\r")), 422),
    OfferAttack("bytes", bytes(range(256)) * 16, 422),
    OfferAttack("JSON", json.dumps({"sdp": GOOD, "type": "offer"}).encode(), 422),
)
"""Attack 6: text that is not SDP."""
