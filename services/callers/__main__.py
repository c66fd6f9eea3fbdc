"""`hushgate call`: make one call, speak, wait for the answers, print the results."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from rich.console import Console

from services.callers.conversation import CallReport, ScriptedLine, converse
from services.callers.core.answer import at_address
from services.callers.errors import CallerError, NotBookedError
from services.callers.report import show
from services.callers.speech import read_wav, synthesise
from services.callers.target import choose_target, key_of
from services.runtime import aiortc_names
from services.runtime.aiortc_names import UnsupportedVersionError

_INTERRUPTED = 130
_TRANSCRIBER = "gpt-4o-mini-transcribe"
RECORDED = Path(__file__).parent / "recorded.wav"
"""flite's "can you tell me what time it is please", for machines without flite."""


def main(arguments: Sequence[str]) -> int:
    """Make the call that ``arguments`` describe; 0 when every line was answered, and booked if that is required."""
    options = _parser().parse_args(arguments)
    try:
        aiortc_names.check("callers")
        asyncio.run(_call(options))
    except (CallerError, UnsupportedVersionError) as exc:
        sys.stderr.write(f"hushgate call: {exc}\n")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


async def _call(options: argparse.Namespace) -> None:
    target = choose_target(options.url, key_of(options.key_file), options.data)
    lines = [await _line(kind, text, options.voice) for kind, text in options.lines]
    address = options.media_address
    account = await converse(
        target.url,
        target.key,
        lines,
        session=_session(options),
        answer_timeout_s=options.timeout,
        rewrite_answer=(lambda sdp: at_address(sdp, str(address))) if address else str,
    )
    if options.json:
        sys.stdout.write(json.dumps(account.as_json(), indent=2) + "\n")
    else:
        show(account, Console())
    if options.require_booked:
        _check_booked(account)


def _check_booked(account: CallReport) -> None:
    """Check that the bill of an ended call has a line with usage.

    Raises:
        NotBookedError: it has none.
    """
    usage = account.usage or {}
    if usage.get("status") != "ended" or not usage.get("lines"):
        raise NotBookedError(str(usage.get("status", "it does not know the call")))


def _session(options: argparse.Namespace) -> dict[str, Any]:
    session: dict[str, Any] = {
        "type": "realtime",
        "audio": {"input": {"transcription": {"model": _TRANSCRIBER}}},
    }
    for name in ("model", "instructions"):
        if getattr(options, name):
            session[name] = getattr(options, name)
    return session


async def _line(kind: str, text: str, voice: Any) -> ScriptedLine:  # noqa: ANN401 - argparse has checked it
    return ScriptedLine(text, await synthesise(text, voice=voice) if kind == "say" else read_wav(Path(text)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hushgate call", description=__doc__, allow_abbrev=False)
    parser.add_argument("--url", help="root of a Realtime endpoint (default: the running `hushgate up`)")
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="file with a tenant key or ek_ token, - for standard input (default: the running `hushgate up`'s)",
    )
    parser.add_argument(
        "--data", type=Path, default=Path(".hushgate"), help="data directory of `hushgate up` (default: %(default)s)"
    )
    say, wav = (lambda text: ("say", text)), (lambda text: ("wav", text))
    parser.add_argument("--say", dest="lines", action="append", type=say, default=[], metavar="TEXT", help="speak text")
    parser.add_argument("--wav", dest="lines", action="append", type=wav, metavar="FILE", help="play a 16-bit WAV file")
    parser.add_argument(
        "--recorded",
        dest="lines",
        action="append_const",
        const=("wav", str(RECORDED)),
        help="ask for the time with a recorded voice, where flite is not installed",
    )
    parser.add_argument("--voice", choices=("slt", "rms"), default="slt", help="flite voice (default: %(default)s)")
    parser.add_argument("--model", help="model to ask for (default: the endpoint's)")
    parser.add_argument("--instructions", help="instructions of the session")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds to wait for an answer (default: %(default)s)"
    )
    parser.add_argument(
        "--media-address", type=ip_address, metavar="IP", help="send media here instead of the address in the answer"
    )
    parser.add_argument(
        "--require-booked", action="store_true", help="fail unless the usage API shows the call's usage in the ledger"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
