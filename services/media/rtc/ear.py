"""What a leg hears, on its way to the leg's owner: put in order, decoded and handed up, in stages of the wheel."""

from collections.abc import Callable

from services.contracts.audio import PcmFrame
from services.media.core.jitter import Heard
from services.media.rtc.receiver import Receiver


class Ear:
    """One leg's. ``listens`` is told when there is something to do; ``give`` takes what was heard."""

    def __init__(
        self,
        receiver: Receiver,
        *,
        listens: Callable[["Ear"], None],
        give: Callable[[list[PcmFrame], float], None],
        failed: Callable[[], None],
    ) -> None:
        self._receiver = receiver
        self._listens = listens
        self._give_up = give
        self._failed = failed
        self._packets: list[bytes] = []
        self._steps: list[Heard] = []
        self._frames: list[PcmFrame] = []
        self.stages = (self._order, self._decode, self._give)

    def take(self, packet: bytes) -> None:
        """An RTP packet came that SRTP has let pass."""
        if not self._packets:
            self._listens(self)
        self._packets.append(packet)

    def broke(self) -> None:
        """A stage failed with an error that nobody expected: it is being handled now."""
        self._packets.clear()
        self._failed()

    def _order(self, now: float) -> bool:
        packets = self._packets
        if len(packets) == 1:
            self._steps = self._receiver.push(packets.pop(), now=now)
        else:
            self._steps = [step for packet in packets for step in self._receiver.push(packet, now=now)]
            packets.clear()
        return bool(self._steps)

    def _decode(self, now: float) -> bool:
        self._frames = self._receiver.hear(self._steps, now=now)
        return bool(self._frames)

    def _give(self, now: float) -> bool:
        self._give_up(self._frames, now)
        return False
