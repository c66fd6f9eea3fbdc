"""`hushgate gate FILE...`: tables, JSON and pictures of what the gate does with each recording."""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from services.gate.analysis import AnalysedFile, UnreadableFile, analyse, length_s
from services.gate.terminal import progress_bar, show
from services.media.settings import MediaSettings

_FAILED = 1


def run(settings: MediaSettings, asked: argparse.Namespace) -> int:
    """Analyse the files; return 0, or 1 if one could not be read or a picture not be written."""
    files: Sequence[Path] = asked.files
    results: list[AnalysedFile | UnreadableFile] = []
    with progress_bar("listening", sum(map(length_s, files))) as on_progress:
        results += (analyse(path, settings, on_progress) for path in files)
    failed = any(isinstance(result, UnreadableFile) for result in results)
    if asked.picture and (asked.out or not asked.json):
        failed |= not _draw_all([result for result in results if isinstance(result, AnalysedFile)], asked.out)
    if asked.json:
        entries = [entry for result in results for entry in result.as_json()]
        sys.stdout.write(json.dumps({"files": entries}, indent=2, ensure_ascii=False) + "\n")
    else:
        show(results, settings.chosen_detector.name, Console())
    return _FAILED if failed else 0


def _draw_all(analysed: Sequence[AnalysedFile], folder: Path | None) -> bool:
    """Write a picture of each file and name it on standard error; return whether all could be written."""
    picture = importlib.import_module("services.gate.picture")  # matplotlib takes a second to import
    taken: set[Path] = set()
    written = True
    for result in analysed:
        target = _target(result.path, folder, taken)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            picture.draw(result, target)
            sys.stderr.write(f"{target}\n")
        except OSError as exc:
            sys.stderr.write(f"hushgate gate: cannot write {target}: {exc.strerror or exc}\n")
            written = False
    return written


def _target(path: Path, folder: Path | None, taken: set[Path]) -> Path:
    """Return where a recording's picture goes; recordings of the same name in different folders get different ones."""
    base = (folder or path.parent) / f"{path.stem}.gate.png"
    target, number = base, 2
    while target in taken:
        target, number = base.with_name(f"{path.stem}.{number}.gate.png"), number + 1
    taken.add(target)
    return target
