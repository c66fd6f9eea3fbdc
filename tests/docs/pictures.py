"""The pictures of the guides: `python -m tests.docs.pictures` draws them into docs/images."""

from pathlib import Path

from tests.docs.drawing import Arrow, Box, Zone, sheet

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def host_port() -> str:
    """Each node's own address and port."""
    return sheet(
        (760, 300),
        "hostPort: a browser sends media to the node's address, port 20000, where the media pod listens",
        Box((20, 110), (130, 80), "browser", ("or an app",)),
        Zone((230, 20), (510, 260), "cluster"),
        Box((260, 55), (150, 62), "Ingress", ("token, SDP; TLS 443",)),
        Box((540, 55), (170, 62), "signaling", ("any node",)),
        Zone((250, 150), (470, 110), "node 203.0.113.7, one media pod"),
        Box((470, 182), (220, 62), "media pod", ("hostPort 20000 … 20000+P-1", "advertises 203.0.113.7")),
        Arrow(((150, 130), (260, 86)), "HTTPS", lift=-10),
        Arrow(((410, 86), (540, 86)), "HTTP"),
        Arrow(((150, 170), (470, 213)), "UDP 203.0.113.7:20000", "media", both=True, lift=28),
    )


def node_port() -> str:
    """The same port number outside, at the node and in the pod."""
    return sheet(
        (760, 300),
        "nodePort: the node port, the pod's port and the advertised port are the same number",
        Box((20, 110), (130, 80), "browser", ("or an app",)),
        Zone((230, 20), (510, 260), "cluster (or kind, ports mapped to 127.0.0.1)"),
        Box((260, 55), (150, 62), "Ingress", ("token, SDP; TLS 443",)),
        Box((540, 55), (170, 62), "signaling"),
        Box((260, 182), (170, 62), "Service of the slot", ("nodePort 30478/UDP", "traffic policy: Local")),
        Box((540, 182), (170, 62), "media pod, slot 0", ("listens on 30478", "advertises 30478")),
        Arrow(((150, 130), (260, 86)), "HTTPS", lift=-10),
        Arrow(((410, 86), (540, 86)), "HTTP"),
        Arrow(((150, 170), (260, 213)), "UDP 30478", "media", both=True, lift=24),
        Arrow(((430, 213), (540, 213)), "30478", "media", both=True),
    )


def turn() -> str:
    """Through the relay only."""
    return sheet(
        (760, 340),
        "turn: a browser sends media to coturn, which sends it on to the pod address of the media process",
        Box((20, 130), (130, 80), "browser", ("or an app",)),
        Zone((230, 20), (510, 300), "cluster: pods are not reachable from outside"),
        Box((260, 55), (150, 62), "Ingress", ("token, SDP; TLS 443",)),
        Box((540, 55), (170, 62), "signaling", ("makes credentials",)),
        Box((260, 225), (150, 70), "coturn", ("3478 UDP and TCP", "443 or 5349 TLS")),
        Box((540, 225), (170, 70), "media pod", ("pod address, UDP 20000", "learns the relay's address")),
        Arrow(((150, 150), (260, 86)), "HTTPS", lift=-10),
        Arrow(((410, 86), (540, 86)), "HTTP"),
        Arrow(((625, 117), (625, 160), (335, 160), (335, 225)), "", "secret"),
        Box((395, 146), (180, 28), "one secret, in both"),
        Arrow(((150, 190), (260, 260)), "TURN", "media", both=True, lift=24),
        Arrow(((410, 260), (540, 260)), "UDP to the pod", "media", both=True),
    )


def trust() -> str:
    """Trust boundaries."""
    return sheet(
        (860, 470),
        "Trust boundaries: the internet, the endpoints, the bus, and other parties",
        Zone((15, 15), (180, 440), "1  anybody"),
        Box((35, 60), (140, 62), "browser, app", ("ephemeral token",)),
        Box((35, 150), (140, 62), "tenant's backend", ("tenant key",)),
        Box((35, 290), (140, 62), "strangers", ("datagrams, HTTP",)),
        Zone((225, 15), (190, 440), "2  the endpoints"),
        Box((245, 70), (150, 70), "signaling", ("hashes of keys,", "TURN secret")),
        Box((245, 210), (150, 62), "media", ("calls, DTLS key",)),
        Box((245, 350), (150, 62), "coturn", ("TURN secret",)),
        Zone((445, 15), (190, 440), "3  inside"),
        Box((465, 70), (150, 62), "nats-server", ("a user a process",)),
        Box((465, 210), (150, 70), "upstream", ("provider key",)),
        Box((465, 350), (150, 62), "metering", ("ledger",)),
        Zone((665, 15), (180, 440), "4  other parties"),
        Box((685, 210), (140, 70), "AI provider", ("receives the audio",)),
        Box((685, 350), (140, 62), "PostgreSQL", ("or a volume",)),
        Arrow(((175, 91), (245, 95)), "HTTPS"),
        Arrow(((175, 195), (245, 130)), "HTTPS", lift=24),
        Arrow(((175, 110), (215, 110), (215, 235), (245, 235)), "", "media", both=True),
        Arrow(((175, 310), (245, 258)), "UDP", lift=-2),
        Arrow(((175, 335), (245, 380)), "TURN", lift=16),
        Arrow(((320, 350), (320, 272)), "", "media", both=True),
        Arrow(((395, 95), (465, 95)), "NATS", both=True),
        Arrow(((395, 225), (430, 225), (430, 115), (465, 115)), "", both=True),
        Arrow(((540, 210), (540, 132)), "", both=True),
        Arrow(((615, 115), (625, 115), (625, 370), (615, 370)), "", both=True),
        Arrow(((615, 245), (685, 245)), "WSS"),
        Arrow(((615, 395), (685, 395)), "SQL"),
    )


DRAWN = {
    "exposure-hostport.svg": host_port,
    "exposure-nodeport.svg": node_port,
    "exposure-turn.svg": turn,
    "trust-boundaries.svg": trust,
}


def draw() -> None:
    """Write all of them."""
    for name, picture in DRAWN.items():
        (IMAGES / name).write_text(picture(), encoding="utf-8")


if __name__ == "__main__":
    draw()
