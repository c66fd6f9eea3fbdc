"""SCTP and data channels of a call: aiortc's, behind `SctpInspector`. Uses private names as `private.py` does."""

import contextlib
from typing import Protocol

from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpTransport
from aiortc.rtcsctptransport import (
    WEBRTC_BINARY,
    WEBRTC_BINARY_EMPTY,
    WEBRTC_STRING,
    WEBRTC_STRING_EMPTY,
    Chunk,
    DataChunk,
    InitChunk,
    parse_packet,
)

from services.contracts.client_event import EncodedText
from services.media.core.network.sctp_inspector import (
    MAX_HELD_BYTES,
    Association,
    PacketRefused,
    SctpDropped,
    SctpInspector,
)
from services.media.legs.webrtc.private import Dtls, run_synchronously
from services.media.legs.webrtc.reassembly import Reassembly
from services.runtime import clock

_TSN_MASK, _HALF = 0xFFFFFFFF, 0x80000000
_MAX_CWND = 64 * 1024
"""Otherwise a peer that acknowledges all lets it grow without limit; each SACK costs a pass over outstanding chunks."""
MAX_OWN_BYTES = MAX_HELD_BYTES
"""What a call holds of a message, unfinished or waiting, without a share of `LargeMessages`."""
MAX_WAITING_BYTES = 4 * MAX_HELD_BYTES
"""What waits in the call when a peer that ignores the window is no longer acknowledged."""
MAX_UNREAD_BYTES = 1024 * 1024
"""With more than that unsent, the window is closed: what a client sends makes more for it to read."""
MAX_DECODED_BYTES = 16 * 1024
"""Longer texts are handed up as they are: who needs them decodes them."""
STALLED_S = 30.0
"""An unfinished message of which nothing came for so long may be given up for another call's."""
_MESSAGES = frozenset((WEBRTC_STRING, WEBRTC_BINARY, WEBRTC_STRING_EMPTY, WEBRTC_BINARY_EMPTY))


class LargeHolder(Protocol):
    """A call that may have a share of `LargeMessages`."""

    def give_up(self) -> bool:
        """End the call if its long message is unfinished; return whether it is."""


class LargeMessages:
    """The memory of a process for messages that exceed `MAX_OWN_BYTES`: so many calls at a time have one."""

    def __init__(self, most: int = 8) -> None:
        self._most = most
        self._active_at: dict[LargeHolder, float] = {}

    def is_held(self, holder: LargeHolder) -> bool:
        """Whether ``holder`` has a share."""
        return holder in self._active_at

    def take(self, holder: LargeHolder, *, now: float) -> bool:
        """Return whether ``holder`` has a share, until `release`; an unfinished one that has stalled is given up."""
        if holder not in self._active_at and len(self._active_at) >= self._most:
            stalled = [other for other, at in self._active_at.items() if now - at > STALLED_S and other.give_up()]
            if not stalled:
                return False
            for other in stalled:
                self.release(other)
        self._active_at[holder] = now
        return True

    def release(self, holder: LargeHolder) -> None:
        """Give the share of ``holder`` back, if it has one."""
        self._active_at.pop(holder, None)


class SctpOwner(Protocol):
    """Receives the failures of the peer's packets."""

    def dropped(self, reason: SctpDropped, *, flood: bool) -> None:
        """Handle that a packet, or the rest of one, was dropped. ``flood``: nothing more is read."""

    def failed(self) -> None:
        """Handle that aiortc raised on a packet: nothing more is read. Called in the except block."""


class Sctp(RTCSctpTransport):
    """SCTP of one call. aiortc gets only those of its peer's packets that `SctpInspector` admits.

    The window that the peer gets is what `hold` leaves of `MAX_HELD_BYTES`; a peer that ignores it is not acknowledged.
    """

    def __init__(self, dtls: Dtls, owner: SctpOwner, large: LargeMessages) -> None:
        super().__init__(dtls)
        self._owner = owner
        self._large = large
        self._inspector = SctpInspector()
        self._over = False
        self._waiting_bytes = 0  # messages that the call has not forwarded
        self._is_stopped = False  # so much waited, and still waits in half, that nothing is taken
        self._is_narrow = False  # the peer was told a window of less than half
        self._advertised_rwnd = MAX_HELD_BYTES

    def hold(self, waiting_bytes: int) -> None:
        """Reduce the window by ``waiting_bytes``, and tell a peer that waits when it is open again."""
        self._waiting_bytes = waiting_bytes
        self._is_stopped = waiting_bytes >= (MAX_WAITING_BYTES // 2 if self._is_stopped else MAX_WAITING_BYTES)
        self._give_back()
        if self._is_wide_again() and self._association_state is self.State.ESTABLISHED:
            with contextlib.suppress(ConnectionError):
                run_synchronously(self._send_sack())

    def release(self) -> None:
        """Give back what the association holds of the process: it has ended."""
        self._large.release(self)

    def send_text(self, channel: RTCDataChannel, text: str) -> None:
        """Send ``text`` on ``channel``, synchronously if nothing is queued.

        Raises:
            InvalidStateError: the channel is closed.
            ValueError: it is longer than the peer accepts.
            ConnectionError: DTLS is closed.
        """
        data, stream = text.encode(), channel.id
        if data and stream is not None and self._is_free(channel, len(data)):
            run_synchronously(self._send(stream, WEBRTC_STRING, data))
        else:
            channel.send(text)

    def _is_free(self, channel: RTCDataChannel, size: int) -> bool:
        """Whether nothing is queued, and the channel is an ordinary one that accepts ``size`` bytes."""
        longest = self._remote_max_message_size
        return (
            self._association_state is self.State.ESTABLISHED
            and not self._data_channel_queue
            and not self._outbound_queue
            and channel.ordered
            and channel.maxRetransmits is None
            and channel.maxPacketLifeTime is None
            and (not longest or size <= longest)
        )

    async def _handle_data(self, data: bytes) -> None:
        if self._over:
            return
        judged = self._inspector.inspect(data, self._association(), now=clock.monotonic())
        if isinstance(judged, PacketRefused):
            self._over = judged.flood
            self._owner.dropped(judged.reason, flood=judged.flood)
            return
        if judged.rest is not None:
            self._owner.dropped(judged.rest, flood=False)
        try:
            await self._process_packet(data, judged.chunks)
        except ConnectionError:
            raise  # the transport is closing: aiortc handles that
        except Exception:  # noqa: BLE001 - aiortc asserts and decodes: bad data may raise any error
            self._over = True
            self._owner.failed()

    async def _process_packet(self, packet: bytes, chunks: int) -> None:
        """Process the first ``chunks`` of a packet as aiortc does."""
        try:
            _, _, tag, found = parse_packet(packet)
        except ValueError:
            self._owner.dropped("sctp_malformed", flood=False)  # the checksum: all else was inspected
            return
        opens = bool(found) and isinstance(found[0], InitChunk)
        if tag != (0 if opens else self._local_verification_tag):
            self._owner.dropped("sctp_unexpected", flood=False)
            return
        for chunk in found[:chunks]:
            await self._receive_chunk(chunk)
        if self._sack_needed or self._is_wide_again():
            await self._send_sack()
        self._cwnd = min(self._cwnd, _MAX_CWND)

    async def _receive_data_chunk(self, chunk: DataChunk) -> None:
        await super()._receive_data_chunk(chunk)
        self._give_back()

    async def _send_sack(self) -> None:
        self._advertised_rwnd = self._room()
        self._is_narrow = 2 * self._advertised_rwnd < MAX_HELD_BYTES
        await super()._send_sack()

    def _get_inbound_stream(self, stream_id: int) -> Reassembly:
        stream = self._inbound_streams.get(stream_id)
        if not isinstance(stream, Reassembly):
            stream = self._inbound_streams[stream_id] = Reassembly()
        return stream

    def give_up(self) -> bool:
        """End the call if its long message is unfinished: another call needs the room. See `LargeHolder`."""
        if self._partial_bytes() < MAX_OWN_BYTES:
            return False
        self._over = True
        for stream in self._inbound_streams:
            self._get_inbound_stream(stream).partial.clear()
        self._owner.dropped("sctp_held", flood=True)
        return True

    def _give_back(self) -> None:
        if self._large.is_held(self) and max(self._waiting_bytes, self._partial_bytes()) <= MAX_OWN_BYTES:
            self._large.release(self)

    def _is_full(self) -> bool:
        """Whether nothing more is taken: too much waits, or a long message has no share of the process's memory."""
        if self._is_stopped:
            return True
        return self._partial_bytes() >= MAX_OWN_BYTES and not self._large.take(self, now=clock.monotonic())

    def _is_wide_again(self) -> bool:
        """Whether the peer was told a narrow window, and may send half of the greatest again."""
        return self._is_narrow and 2 * self._room() > MAX_HELD_BYTES

    def _room(self) -> int:
        """Bytes that the peer may send."""
        if (
            self._is_full()
            or sum(channel.bufferedAmount for channel in self._data_channels.values()) > MAX_UNREAD_BYTES
        ):
            return 0
        return max(0, MAX_HELD_BYTES - self._waiting_bytes - self._held_bytes())

    def _partial_bytes(self) -> int:
        return sum(len(self._get_inbound_stream(stream).partial) for stream in self._inbound_streams)

    def _held_bytes(self) -> int:
        return sum(self._get_inbound_stream(stream).held_bytes for stream in self._inbound_streams)

    def _association(self) -> Association:
        unsent, streams = self._outbound_queue, self._inbound_streams
        return Association(
            cumulative_tsn=self._last_received_tsn,
            misordered=self._sack_misordered,
            held_chunks=sum(len(stream.reassembly) for stream in streams.values()),
            held_bytes=self._held_bytes(),
            partial_bytes=self._partial_bytes(),
            is_full=self._is_full(),
            streams=streams,
            next_tsn=unsent[0].tsn if unsent else self._local_tsn,
            outstanding=len(self._sent_queue),
        )

    def _mark_received(self, tsn: int) -> bool:
        """Whether a TSN of the peer came before. aiortc's own sorts and filters all misordered ones each time."""
        waiting, last = self._sack_misordered, self._last_received_tsn or 0  # not None: there is an association
        if not 0 < (tsn - last) & _TSN_MASK < _HALF or tsn in waiting:
            self._sack_duplicates.append(tsn)
            return True
        waiting.add(tsn)
        while (following := (last + 1) & _TSN_MASK) in waiting:
            waiting.remove(following)
            last = following
        self._last_received_tsn = last
        return False

    async def _receive(self, stream_id: int, pp_id: int, data: bytes) -> None:
        is_long = len(data) > MAX_DECODED_BYTES
        if pp_id == WEBRTC_STRING and not is_long and not _is_text(data):
            pp_id = WEBRTC_BINARY  # aiortc's would raise
        if pp_id in _MESSAGES and stream_id not in self._data_channels and not self._data_channels:
            # Negotiated out of band (RFC 8832 §1): its first message is the only notice.
            parameters = RTCDataChannelParameters(negotiated=True, id=stream_id)
            self.emit("datachannel", RTCDataChannel(self, parameters, False))  # noqa: FBT003 - aiortc's
        if pp_id == WEBRTC_STRING and is_long and (channel := self._data_channels.get(stream_id)) is not None:
            channel.emit("message", EncodedText(data))
        else:
            await super()._receive(stream_id, pp_id, data)

    async def _send_chunk(self, chunk: Chunk) -> None:
        # aiortc's timers send in tasks that nobody awaits; DTLS itself reports that it is closed.
        with contextlib.suppress(ConnectionError):
            await super()._send_chunk(chunk)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
