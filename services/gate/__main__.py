"""`hushgate gate`: what the gate does with recordings: what would be sent, when turns end, and why."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from services.gate.options import gate_settings
from services.runtime.errors import HushgateError, SettingsError

_FAILED, _WRONG_ARGUMENTS = 1, 2
_EPILOG = """\
hushgate gate tune --help says how settings are suggested from labelled recordings.

WAV files of 8 to 48 kHz, mono or stereo: PCM of 8, 16, 24 or 32 bits, float, or G.711. Each channel of a stereo
file is a stream of its own, FILE#1 and FILE#2. The settings are those of the media process, from the environment
(MEDIA_VAD...). Times of opens, closes and turn ends are when the gate decides. No answer plays, so nothing is a
barge-in. Exit code: 0; 1: a file could not be read or a picture not written; 2: wrong arguments or settings.
See docs/gate.md."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; each way of running it is a module that is imported only then, so that `--stdio` starts fast."""
    given = list(arguments)
    tunes = given[:1] == ["tune"]
    parser = tune_parser() if tunes else files_parser()
    asked = parser.parse_args(given[1:] if tunes else given)
    try:
        settings = gate_settings(dict(asked.changes))
        if lacks := settings.chosen_detector.lacks:
            sys.stderr.write(f"hushgate gate: webrtcvad is used: {lacks}\n")
        if tunes:
            return _run("tuning", asked, settings)
        if asked.stdio == bool(asked.files):
            parser.error("give recordings, or --stdio")
        return _run("stdio" if asked.stdio else "recordings", asked, settings)
    except SettingsError as exc:
        sys.stderr.write(f"hushgate gate: {exc}\n")
        return _WRONG_ARGUMENTS
    except HushgateError as exc:
        sys.stderr.write(f"hushgate gate: {exc}\n")
        return _FAILED


def _run(module: str, asked: argparse.Namespace, settings: object) -> int:
    result: int = importlib.import_module(f"services.gate.{module}").run(settings, asked)
    return result


def files_parser() -> argparse.ArgumentParser:
    """Return the parser of `hushgate gate FILE...`."""
    parser = argparse.ArgumentParser(
        prog="hushgate gate",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("files", type=Path, nargs="*", metavar="FILE.wav", help="recordings")
    _add_changes(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write the pictures here (default: beside the recordings)"
    )
    parser.add_argument("--no-picture", dest="picture", action="store_false", help="write no pictures")
    parser.add_argument(
        "--json", action="store_true", help="print JSON instead of tables; pictures are written only with --out"
    )
    parser.add_argument(
        "--stdio",
        action="store_true",
        help="gate one stream: 640 bytes (20 ms of 16 kHz s16le mono) at a time on standard input; for each, on "
        "standard output, a byte of flags (1: open, 2: a turn has ended now), a 16-bit count, and so many frames",
    )
    return parser


def tune_parser() -> argparse.ArgumentParser:
    """Return the parser of `hushgate gate tune FOLDER`."""
    parser = argparse.ArgumentParser(
        prog="hushgate gate tune",
        description="Suggest settings of the gate from recordings of your own, with what they would trade.",
        epilog="""\
FOLDER has one of:
  manifest.json      streams with speech and turns in seconds, noises, and mixes of both (docs/gate.md)
  NAME.wav, NAME.txt labels as Audacity exports them: start, end, label, separated by tabs. The label `turn` is a turn,
                     `ignore` is neither speech nor silence, every other is speech
  stereo WAV files   one party on each channel, without labels: a turn is over when the other party speaks next
See docs/gate.md.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of recordings")
    _add_changes(parser)
    parser.add_argument(
        "--delivered",
        type=_percent,
        default=99.9,
        metavar="PERCENT",
        help="speech that must be delivered (default: %(default)s)",
    )
    parser.add_argument(
        "--cut",
        type=_percent,
        default=10.0,
        metavar="PERCENT",
        help="turns that may be cut at a pause (default: %(default)s)",
    )
    parser.add_argument(
        "--folds", type=_folds, default=5, metavar="K", help="for the cross-check (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def _add_changes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="changes",
        type=_change,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="try a setting of the gate, MEDIA_VAD_KEY, as in --set HANGOVER_MS=400; may be repeated",
    )


def _change(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return name, value


def _percent(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 100:  # noqa: PLR2004 - percent
        raise argparse.ArgumentTypeError("must be from 0 to 100")
    return number


def _folds(text: str) -> int:
    number = int(text)
    if not 2 <= number <= 20:  # noqa: PLR2004 - its bounds
        raise argparse.ArgumentTypeError("must be from 2 to 20")
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
