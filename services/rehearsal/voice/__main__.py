"""`python -m services.rehearsal.voice recogniser|synthesiser`: a voice process, controlled by its pipes."""

import os
import signal
import sys
from io import FileIO, RawIOBase
from typing import Protocol

from services.rehearsal.core.voices import VOICE_SOUNDS
from services.rehearsal.voice.pipes import SCORE, SENTENCE, PipeMessage, PipeMessageKind, is_waiting, receive, send

_NICE = 5
"""Niceness of a recogniser: on a contended CPU it gets about a third of the gateway's share."""


class _DeferredDecoder(Protocol):
    def catch_up(self) -> bool:
        """Process a little deferred audio; False: nothing is left."""


def recognise(down: RawIOBase, up: RawIOBase) -> None:
    """Serve as a recogniser until ``down`` ends."""
    from services.rehearsal.voice.recogniser import Recogniser  # noqa: PLC0415 - each role loads only its own library

    os.nice(_NICE)
    recogniser = Recogniser()
    recogniser.warm_up()
    send(up, PipeMessage(PipeMessageKind.READY))
    while message := _next(recogniser, down):
        match message.kind:
            case PipeMessageKind.FEED:
                recogniser.feed(message.body)
            case PipeMessageKind.FINISH:
                heard = recogniser.finish()
                body = SCORE.pack(heard.logprob) + heard.text.encode()
                send(up, PipeMessage(PipeMessageKind.TEXT, message.ref, body))
                recogniser.discard()
            case _:
                recogniser.discard()


def _next(recogniser: _DeferredDecoder, down: RawIOBase) -> PipeMessage | None:
    """Return the next message; process deferred audio until it arrives."""
    while not is_waiting(down) and recogniser.catch_up():
        pass
    return receive(down)


def synthesise(down: RawIOBase, up: RawIOBase) -> None:
    """Serve as a synthesiser until ``down`` ends."""
    from services.rehearsal.voice.synthesiser import Synthesiser  # noqa: PLC0415 - as above

    synthesiser = Synthesiser()
    synthesiser.synthesise("Ready.")
    send(up, PipeMessage(PipeMessageKind.READY))
    while message := receive(down):
        speed_percent, length = SENTENCE.unpack_from(message.body)
        named = message.body[SENTENCE.size :]
        voice = VOICE_SOUNDS[named[:length].decode()]
        sound = synthesiser.synthesise(named[length:].decode(), voice=voice, speed_percent=speed_percent)
        send(up, PipeMessage(PipeMessageKind.SOUND, message.ref, sound))


def main(arguments: list[str]) -> int:
    """Run the named role."""
    # Ctrl-C goes to the whole terminal; the service ends its voice processes by closing the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    roles = {"recogniser": recognise, "synthesiser": synthesise}
    # Unbuffered, so that `is_waiting` sees all there is.
    roles[arguments[0]](FileIO(0, "rb", closefd=False), FileIO(1, "wb", closefd=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
