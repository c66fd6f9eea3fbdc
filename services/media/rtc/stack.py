"""What the WebRTC legs of a process share: port, wheel, certificate, settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.media import metrics
from services.media.core import sdp
from services.media.core.encoding import EncoderChoice
from services.media.core.path import Credentials
from services.media.core.sdp import LocalTransport, Offer, Setup
from services.media.rtc.mux import UdpMux, open_mux
from services.media.rtc.private import Certificate
from services.media.rtc.wheel import Wheel


@dataclass(frozen=True, slots=True)
class StackConfig:
    """``lost_s``: a client silent so long is lost, ``gone_s``: it is gone. ``encoder``: see core/encoding.py.

    ``everywhere``: see `open_mux`.
    """

    advertised: tuple[str, ...]
    port: int = 0
    everywhere: bool = False
    lost_s: float = 5.0
    gone_s: float = 30.0
    encoder: EncoderChoice = "lowdelay"


@dataclass(frozen=True, slots=True)
class Stack:
    """Made by `open_stack`."""

    config: StackConfig
    mux: UdpMux
    wheel: Wheel
    certificate: Certificate

    def answer(self, offer: Offer, ice: Credentials, *, setup: Setup, ssrc: int) -> str:
        """The SDP answer of a leg on this port."""
        local = LocalTransport(
            ufrag=ice.ufrag,
            password=ice.password,
            fingerprint=self.certificate.sha256,
            setup=setup,
            addresses=self.mux.addresses,
        )
        return sdp.answer(offer, local, ssrc=ssrc)


@contextmanager
def open_stack(config: StackConfig) -> Iterator[Stack]:
    """Bind the port while the block lasts.

    Raises:
        PortUnavailableError: it cannot be bound.
    """
    with open_mux(config.advertised, port=config.port, everywhere=config.everywhere) as mux:
        metrics.ROUTES.set_function(lambda: len(mux.routes))
        certificate = Certificate.generateCertificate()
        wheel = Wheel(mux)
        try:
            yield Stack(config, mux, wheel, certificate)
        finally:
            wheel.stop()
