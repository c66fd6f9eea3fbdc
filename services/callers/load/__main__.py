"""`hushgate load`: run many callers at once against any Realtime WebRTC endpoint and measure."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from services.callers.core.figures import known_figures
from services.callers.core.requirement import Requirement, RequirementSyntaxError, parse
from services.callers.errors import CallerError
from services.callers.load.html import write_html
from services.callers.load.options import LoadOptions
from services.callers.load.run import Results, run_load
from services.callers.load.terminal import progress_of, show
from services.callers.target import choose_target, key_of, up_info
from services.runtime import aiortc_names
from services.runtime.aiortc_names import UnsupportedVersionError

_FAILED = 1
_INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Run the load test that ``arguments`` describe.

    0: at least one call connected and every requirement is met; 1: otherwise; 2: wrong arguments; 130: interrupted.
    """
    asked = _parser().parse_args(arguments)
    console = Console(stderr=True)
    try:
        aiortc_names.check("callers")
        options = _options(asked)
        results = asyncio.run(_run(options, console))
    except (CallerError, UnsupportedVersionError) as exc:
        sys.stderr.write(f"hushgate load: {exc}\n")
        return _FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    return _report(results, asked)


async def _run(options: LoadOptions, console: Console) -> Results:
    """Run; Ctrl-C hangs up and reports, a second one exits at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def interrupt() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)
        console.print("hanging up; Ctrl-C once more ends at once")

    loop.add_signal_handler(signal.SIGINT, interrupt)
    with progress_of(options, console) as on_progress:
        return await run_load(options, stop=stop, on_progress=on_progress)


def _report(results: Results, asked: argparse.Namespace) -> int:
    try:
        if asked.json:
            asked.json.write_text(json.dumps(results.figures, indent=2) + "\n")
        if asked.html:
            write_html(results, asked.html)
    except OSError as exc:
        sys.stderr.write(f"hushgate load: cannot write {exc.filename}: {exc.strerror}\n")
        return _FAILED
    show(results.figures, Console())
    unmet = results.unmet(asked.require)
    for requirement in unmet:
        sys.stderr.write(f"hushgate load: {requirement}\n")
    if not results.connected:
        sys.stderr.write("hushgate load: no call connected\n")
    if results.figures["interrupted"]:
        return _INTERRUPTED
    return _FAILED if unmet or not results.connected else 0


def _options(asked: argparse.Namespace) -> LoadOptions:
    target = choose_target(asked.url, key_of(asked.key_file), asked.data)
    return LoadOptions(
        url=target.url,
        key=target.key,
        calls=asked.calls,
        per_second=asked.ramp,
        minutes=asked.minutes,
        talk=asked.talk,
        dtx=asked.dtx,
        wav=asked.wav,
        model=asked.model,
        processes=asked.processes,
        cpus=asked.cpus,
        up=up_info(asked.data, target.url),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hushgate load", description=__doc__, epilog="See docs/load.md.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--url", help="root of a Realtime endpoint (default: the running `hushgate up`)")
    add(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="file with a key that may mint tokens, - for standard input (default: the running `hushgate up`'s)",
    )
    add("--data", type=Path, default=Path(".hushgate"), help="data directory of `hushgate up` (default: %(default)s)")
    add("--calls", type=_count, default=10, metavar="N", help="how many calls (default: %(default)s)")
    add("--ramp", type=_rate, default=5.0, metavar="R/s", help="calls placed a second (default: 5/s)")
    add("--minutes", type=_positive, default=1.0, metavar="M", help="from the last call placed (default: %(default)s)")
    add("--talk", type=_share, default=0.42, help="share of the time a caller talks, up to 1 (default: %(default)s)")
    add("--no-dtx", dest="dtx", action="store_false", help="send a packet each 20 ms while silent, not each 400")
    add("--wav", type=Path, metavar="DIR", help="speak the 16-bit WAV files in DIR (default: flite's phrases)")
    add("--model", help="model to ask for (default: the endpoint's)")
    add("--processes", type=_count, metavar="P", help="processes that call (default: one for each 60 calls)")
    add("--cpus", type=_cpus, default=(), metavar="LIST", help="CPUs for them, as in 1,3 (default: all)")
    add("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    add("--html", type=Path, metavar="FILE", help="write a report with plots to FILE")
    add(
        "--require",
        type=_requirement,
        action="append",
        default=[],
        metavar="'FIGURE <NUMBER'",
        help="fail unless it holds, e.g. 'setup_ms.p95 <500'; may be repeated",
    )
    return parser


def _requirement(text: str) -> Requirement:
    try:
        return parse(text, known=known_figures())
    except RequirementSyntaxError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


def _rate(text: str) -> float:
    return _positive(text.removesuffix("/s"))


def _share(text: str) -> float:
    number = _positive(text)
    if number > 1:
        raise argparse.ArgumentTypeError("must be 1 or less")
    return number


def _cpus(text: str) -> tuple[int, ...]:
    return tuple(int(cpu) for cpu in text.split(","))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
