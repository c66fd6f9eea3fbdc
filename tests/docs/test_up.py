"""docs/up.md names every option of `hushgate up`, and no other; docs/troubleshooting.md every ending and its cure."""

import re
from pathlib import Path

from services.contracts.endings import EndReason
from services.up.options import make_parser

DOCS = Path(__file__).parents[2] / "docs"
UNEXPLAINED = {EndReason.HANGUP}
"""Somebody hung up."""


def test_the_page_of_options_has_them_all() -> None:
    rows = [line.split("|")[1] for line in (DOCS / "up.md").read_text().splitlines() if line.startswith("| `--")]
    described = {option for row in rows for option in re.findall(r"--[a-z-]+", row)}
    assert described == {option for action in make_parser()._actions for option in action.option_strings} - {  # noqa: SLF001
        "-h",
        "--help",
    }


def test_every_option_has_a_help_text() -> None:
    assert [action.dest for action in make_parser()._actions if not action.help] == []  # noqa: SLF001


def test_every_reason_for_an_ending_has_its_cure() -> None:
    text = (DOCS / "troubleshooting.md").read_text()
    assert [reason for reason in EndReason if reason not in UNEXPLAINED and f"| `{reason}` |" not in text] == []
