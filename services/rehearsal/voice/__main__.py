"""`python -m services.rehearsal.voice ear|mouth`: a voice process, driven by its pipes."""

import signal
import sys
from io import FileIO, RawIOBase
from typing import Protocol

from services.rehearsal.voice.pipes import Kind, PipeMessage, is_waiting, receive, send


class _CatchesUp(Protocol):
    def catch_up(self) -> bool:
        """Do a little of what was put off; False: nothing is left."""


def hear(down: RawIOBase, up: RawIOBase) -> None:
    """Serve as an ear until ``down`` ends."""
    from services.rehearsal.voice.ear import Ear  # noqa: PLC0415 - each role loads only its own library

    ear = Ear()
    ear.warm_up()
    send(up, PipeMessage(Kind.READY))
    while message := _next(ear, down):
        match message.kind:
            case Kind.FEED:
                ear.feed(message.body)
            case Kind.FINISH:
                send(up, PipeMessage(Kind.TEXT, message.ref, ear.finish().encode()))
                ear.forget()
            case _:
                ear.forget()


def _next(ear: _CatchesUp, down: RawIOBase) -> PipeMessage | None:
    """Messages come first, the language model uses the time between them."""
    while not is_waiting(down) and ear.catch_up():
        pass
    return receive(down)


def speak(down: RawIOBase, up: RawIOBase) -> None:
    """Serve as a mouth until ``down`` ends."""
    from services.rehearsal.voice.mouth import Mouth  # noqa: PLC0415 - as above

    mouth = Mouth()
    mouth.say("Ready.")
    send(up, PipeMessage(Kind.READY))
    while message := receive(down):
        speed_percent = int.from_bytes(message.body[:2], "little")
        sound = mouth.say(message.body[2:].decode(), speed_percent=speed_percent)
        send(up, PipeMessage(Kind.SOUND, message.ref, sound))


def main(arguments: list[str]) -> int:
    """Run the named role."""
    # Ctrl-C goes to the whole terminal; the service decides when its voice ends, by closing the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    roles = {"ear": hear, "mouth": speak}
    # Without buffers of Python's own, so that `is_waiting` sees all there is.
    roles[arguments[0]](FileIO(0, "rb", closefd=False), FileIO(1, "wb", closefd=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
