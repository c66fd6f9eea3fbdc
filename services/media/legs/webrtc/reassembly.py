"""Reassembles a stream's messages in a time proportional to their bytes; aiortc's scans all fragments for each one."""

from collections.abc import Iterator

from aiortc.rtcsctptransport import (
    SCTP_DATA_FIRST_FRAG,
    SCTP_DATA_LAST_FRAG,
    SCTP_DATA_UNORDERED,
    DataChunk,
    InboundStream,
)

_TSN_MASK, _HALF = 0xFFFFFFFF, 0x80000000

StreamMessage = tuple[int, int, bytes]
"""Stream, protocol and data."""


class Reassembly(InboundStream):
    """One stream of the peer. The message that is due collects in ``partial``; ``reassembly`` has what is out of order.

    Fragments of a message have consecutive TSNs (RFC 9260 §6.9).
    """

    def __init__(self) -> None:
        super().__init__()
        self.partial = bytearray()
        self._begun: DataChunk | None = None  # the first fragment of the message in ``partial``
        self._next_tsn = 0

    @property
    def held_bytes(self) -> int:
        """Bytes that wait for an earlier fragment or message."""
        return sum(len(chunk.user_data) for chunk in self.reassembly)

    def pop_messages(self) -> Iterator[StreamMessage]:
        """Yield the stream, the protocol and the data of each message that is complete."""
        found = True
        while found:
            found = False
            while (message := self._collect()) is not None:
                yield message
            if self.reassembly:
                for message in super().pop_messages():
                    found = True
                    yield message

    def prune_chunks(self, tsn: int) -> int:
        """Drop what the peer has given up: messages of which a fragment up to ``tsn`` is missing."""
        if self._begun is not None and (tsn - self._next_tsn) & _TSN_MASK < _HALF:
            self._begun = None
            self.partial.clear()
        return super().prune_chunks(tsn)

    def _collect(self) -> StreamMessage | None:
        """Move the next fragments of the message that is due to ``partial``; return the message once it is complete."""
        start = self._next_fragment()
        end, message = start, None
        for chunk in self.reassembly[start:]:
            if self._begun is None:
                if not self._is_due(chunk):
                    break
                self._begun = chunk
            elif chunk.tsn != self._next_tsn:
                break
            self.partial += chunk.user_data
            self._next_tsn = (chunk.tsn + 1) & _TSN_MASK
            end += 1
            if chunk.flags & SCTP_DATA_LAST_FRAG:
                message = self._finish(self._begun)
                break
        if end > start:
            del self.reassembly[start:end]
        return message

    def _next_fragment(self) -> int:
        """Return where the next fragment of the message that is due is in ``reassembly``, which may be its end."""
        if self._begun is None:
            return 0
        waiting = self.reassembly
        return next((at for at, chunk in enumerate(waiting) if chunk.tsn == self._next_tsn), len(waiting))

    def _is_due(self, chunk: DataChunk) -> bool:
        is_next = chunk.flags & SCTP_DATA_UNORDERED or chunk.stream_seq == self.sequence_number
        return bool(chunk.flags & SCTP_DATA_FIRST_FRAG and is_next)

    def _finish(self, begun: DataChunk) -> StreamMessage:
        data, self.partial, self._begun = bytes(self.partial), bytearray(), None
        if not begun.flags & SCTP_DATA_UNORDERED and begun.stream_seq == self.sequence_number:
            self.sequence_number = (self.sequence_number + 1) & 0xFFFF
        return begun.stream_id, begun.protocol, data
