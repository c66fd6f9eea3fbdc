"""State shared by the WebRTC legs of a process: port, wheel, certificate, settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.contracts.connect import WebRtcAnswer
from services.media import metrics
from services.media.core import sdp
from services.media.core.network.ice_path import Credentials
from services.media.core.rtp.encoding import EncoderChoice
from services.media.core.sdp import DtlsSetup, LocalTransport, ParsedOffer
from services.media.legs.webrtc.mux import UdpMux, open_mux
from services.media.legs.webrtc.private import Certificate
from services.media.legs.webrtc.sctp import LargeMessages
from services.media.legs.webrtc.wheel import Wheel


@dataclass(frozen=True, slots=True)
class StackConfig:
    """Settings of all WebRTC legs.

    ``lost_s``, ``gone_s``: seconds without a packet after which a client is lost, and gone. ``encoder``: see
    core/rtp/encoding.py. ``everywhere``: see `open_mux`.
    """

    advertised: tuple[str, ...]
    port: int = 0
    everywhere: bool = False
    lost_s: float = 5.0
    gone_s: float = 30.0
    encoder: EncoderChoice = "lowdelay"


@dataclass(frozen=True, slots=True)
class Stack:
    """What legs are made with. Made by `open_stack`."""

    config: StackConfig
    mux: UdpMux
    wheel: Wheel
    certificate: Certificate
    large: LargeMessages

    def answer(self, offer: ParsedOffer, ice: Credentials, *, setup: DtlsSetup, ssrc: int) -> WebRtcAnswer:
        """Return the SDP answer for a leg on this port."""
        local = LocalTransport(
            ufrag=ice.ufrag,
            password=ice.password,
            fingerprint=self.certificate.sha256,
            setup=setup,
            addresses=self.mux.addresses,
        )
        return WebRtcAnswer(sdp=sdp.answer(offer, local, ssrc=ssrc))


@contextmanager
def open_stack(config: StackConfig) -> Iterator[Stack]:
    """Bind the port, and close it when the block ends.

    Raises:
        PortUnavailableError: it cannot be bound.
    """
    with open_mux(config.advertised, port=config.port, everywhere=config.everywhere) as mux:
        metrics.ROUTES.set_function(lambda: len(mux.routes))
        certificate = Certificate.generateCertificate()
        wheel = Wheel(mux)
        try:
            yield Stack(config, mux, wheel, certificate, LargeMessages())
        finally:
            wheel.stop()
