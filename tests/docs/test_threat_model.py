"""The threat model and the ASVS page name tests that exist, and mark what is open."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDE, ASVS = DOCS / "threat-model.md", DOCS / "asvs.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
LINK = re.compile(r"\[[^\]]+\]\(([\w./-]+\.md)(?:#([\w-]+))?\)")
OPEN = re.compile(r"\bnot yet\b|^not used$")
ATTACKS = 53
MAX_CELL = 110
IDS = {
    "4": "1.1-5 2.1-5 3.1-2 4.1-4",
    "11": "1.1-4 2.1-5 3.1-5 4.1-4 5.1-2 6.1-2 7.1-2",
    "12": "1.1-5 2.1-2 3.1-5",
    "13": "1.1-4 2.1-6 3.1-4 4.1-7",
    "14": "1.1-2 2.1-8 3.1-3",
    "15": "1.1-5 2.1-5 3.1-7 4.1-4",
    "16": "1.1-1 2.1-5 3.1-4 4.1-3 5.1-4",
    "17": "1.1-2 2.1-8 3.1-2",
}
"""All requirements of the chapters that are gone through whole (ASVS 5.0.0): of each section the first to the last."""


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head and the lines that name a chapter."""
    text = page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in found if not row[0].startswith("**")]


@cache
def functions(path: str) -> frozenset[str]:
    """The names of a file's tests; none: there is no such file."""
    file = ROOT / path
    return (
        frozenset(re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE))
        if file.is_file()
        else frozenset()
    )


ATTACK_ROWS, TEST_ROWS, ASVS_ROWS = rows(GUIDE, "Attacks"), rows(GUIDE, "Tests by attack"), rows(ASVS, "Requirements")


@pytest.mark.parametrize("row", [*TEST_ROWS, *ASVS_ROWS], ids=lambda row: row[0])
def test_a_row_names_a_test_that_exists_or_a_document_or_says_not_yet(row: list[str]) -> None:
    shown_by = row[-1]
    named, linked = TEST.findall(shown_by), LINK.findall(shown_by)
    missing = [f"{path}::{name}" for path, name in named if name not in functions(path)]
    assert not missing
    assert named or linked or OPEN.search(shown_by), "say by which test, or `not yet`"
    assert shown_by.count("tests/") == len(named), "a test that is named in another form is not checked"
    for target, anchor in linked:
        assert not anchor or anchor in anchors(DOCS / target)


@pytest.mark.parametrize("row", ATTACK_ROWS, ids=lambda row: row[0])
def test_an_attack_names_the_files_of_its_tests_or_says_not_yet(row: list[str]) -> None:
    listed = [tests for number, tests in TEST_ROWS if number == row[0]]
    files = {path.removeprefix("tests/").removesuffix(".py") for path, _ in TEST.findall(" ".join(listed))}
    assert set(re.findall(r"`([\w/]+)`", row[4])) == files
    assert files or OPEN.search(row[5]), "say by which test, or `not yet`"
    assert max(len(cell) for cell in (*row[:4], *row[5:])) <= MAX_CELL, "a row can be read at a glance"


def anchors(file: Path) -> set[str]:
    """What its headings are linked by."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_all_attacks_are_there_once_and_in_order() -> None:
    assert [row[0] for row in ATTACK_ROWS] == [str(number) for number in range(1, ATTACKS + 1)]


def test_the_chapters_that_are_gone_through_whole_leave_nothing_out() -> None:
    listed = [row[0] for row in ASVS_ROWS]
    assert len(listed) == len(set(listed))
    for chapter, sections in IDS.items():
        asked = [
            f"{chapter}.{section}.{number}"
            for section, first, last in re.findall(r"(\d+)\.(\d+)-(\d+)", sections)
            for number in range(int(first), int(last) + 1)
        ]
        assert [name for name in listed if name.startswith(f"{chapter}.")] == asked
