"""The track that a WebRTC leg sends: nothing while nothing plays, else a packet every 20 ms."""

import asyncio
from collections.abc import Callable

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.packet import Packet
from av.stream import Stream

from services.media import metrics
from services.media.core.pacer import Pacer
from services.media.leg import PlayoutSource
from services.media.rtc.codec import OpusEncoder
from services.runtime import clock


class PlayoutTrack(MediaStreamTrack):
    """Pulls from its source when the pacer says so."""

    kind = "audio"

    def __init__(self, *, failed: Callable[[], None]) -> None:
        super().__init__()
        self._failed = failed
        self._source: asyncio.Future[PlayoutSource] = asyncio.get_running_loop().create_future()
        self._pacer = Pacer()
        self._encoder = OpusEncoder()

    def play(self, source: PlayoutSource) -> None:
        """Play from ``source``."""
        if not self._source.done():
            self._source.set_result(source)

    async def recv(self) -> "Packet[Stream]":
        """The next packet; waits until there is one."""
        source = await asyncio.shield(self._source)
        try:
            return await self._next(source)
        except MediaStreamError:
            raise
        except Exception as exc:
            self._failed()  # aiortc would log it and send nothing from then on
            raise MediaStreamError from exc

    async def _next(self, source: PlayoutSource) -> "Packet[Stream]":
        while self.readyState == "live":
            await source.playable()
            due = self._pacer.next_due(now=clock.monotonic())
            if (wait := due - clock.monotonic()) > 0:
                await asyncio.sleep(wait)
            pcm = source.pull()
            if pcm is None:
                self._pacer.pause()
                continue
            now = clock.monotonic()
            metrics.PACER_LATENESS.observe(max(0.0, now - due))
            metrics.PACKETS.labels("down").inc()
            return self._encoder.encode(pcm, timestamp=self._pacer.take(now=now))
        raise MediaStreamError
