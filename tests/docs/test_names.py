"""The guides name what exists: files, folders, classes, settings, metrics, targets; and their lines are short."""

import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from services.runtime.process.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
SERVICES = ("signaling", "media", "upstream", "metering", "rehearsal")
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "deploy").rglob("*.md"),
    *(ROOT / "tests").rglob("*.md"),
]
HISTORY = {ROOT / "CHANGELOG.md", *(ROOT / "docs" / "adr").glob("*.md")}
"""These name what existed when they were written."""
CURRENT = [file for file in DOCUMENTS if file not in HISTORY]
MAX_CHARACTERS = 120
OTHERS = {"MediaStreamTrackProcessor", "MediaStreamAudioDestinationNode", "UdpRcvbufErrors", "OnDelete", "WebRTC"}
"""Names of browsers, Linux and Kubernetes."""


def spans(file: Path) -> list[str]:
    """The code spans of a document, without its code blocks."""
    text = re.sub(r"^ *```.*?^ *```", "", file.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", text)


def named(file: Path, pattern: str) -> set[str]:
    """The first group of ``pattern`` in each code span that it matches whole."""
    return {found.group(1) for span in spans(file) if (found := re.fullmatch(pattern, span))}


@cache
def sources() -> str:
    """The text of everything that defines a name."""
    files = [*(ROOT / "services").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "deploy").rglob("*.yaml")]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


@cache
def settings() -> frozenset[str]:
    """The environment names of all services."""
    names = set()
    for service in SERVICES:
        module = import_module(f"services.{service}.settings")
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, ServiceSettings) and kind is not ServiceSettings:
                prefix = kind.model_config.get("env_prefix", "")
                names |= {f"{prefix}{field}".upper() for field in kind.model_fields}
    return frozenset(names)


@cache
def anchors(file: Path) -> frozenset[str]:
    """The anchors of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return frozenset(re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings)


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", CURRENT, ids=name)
def test_the_files_and_folders_that_a_guide_names_exist(file: Path) -> None:
    paths = named(file, r"((?:services|tests|docs|deploy|bin|requirements)/[\w./-]+)(?:::\w+)?")
    assert {path for path in paths if not (ROOT / path).exists() and "PROVIDER" not in path} == set()


@pytest.mark.parametrize("file", CURRENT, ids=name)
def test_the_classes_that_a_guide_names_exist(file: Path) -> None:
    classes = named(file, r"([A-Z][a-z]+(?:[A-Z][a-z]*)+)")
    defined = set(re.findall(r"^(?:class (\w+)|(\w+)\b[^\n]* = )", sources(), re.MULTILINE))
    assert classes - {one or other for one, other in defined} - OTHERS == set()


@pytest.mark.parametrize("file", CURRENT, ids=name)
def test_the_settings_that_a_guide_names_exist(file: Path) -> None:
    prefixes = "|".join(service.upper() for service in SERVICES)
    assert named(file, rf"((?:{prefixes})_[A-Z0-9_]*[A-Z0-9])(?:[:=].*)?") - settings() - {"METERING_POD"} == set()


@pytest.mark.parametrize("file", CURRENT, ids=name)
def test_the_metrics_that_a_guide_names_exist(file: Path) -> None:
    metrics = named(file, r"(hushgate_\w+)(?:\{.*\})?")
    assert {metric for metric in metrics if f'"{metric.removesuffix("_bucket")}"' not in sources()} == set()


@pytest.mark.parametrize("file", CURRENT, ids=name)
def test_the_make_targets_that_a_guide_names_exist(file: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named(file, r"make (?:PYTHON=\S+ )?([a-z-]+).*") - targets == set()


@pytest.mark.parametrize("file", DOCUMENTS, ids=name)
def test_links_lead_to_files_that_exist(file: Path) -> None:
    links = re.findall(r"\]\(([^)\s#]+)[^)\s]*\)", file.read_text(encoding="utf-8"))
    assert {link for link in links if "://" not in link and not (file.parent / link).exists()} == set()


@pytest.mark.parametrize("file", CURRENT, ids=name)
def test_links_lead_to_headings_that_exist(file: Path) -> None:
    links = re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", file.read_text(encoding="utf-8"))
    assert {f"{to}#{at}" for to, at in links if at not in anchors(file.parent / to if to else file)} == set()


@pytest.mark.parametrize("file", DOCUMENTS, ids=name)
def test_lines_outside_tables_are_at_most_120_characters(file: Path) -> None:
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > MAX_CHARACTERS] == []


def test_the_map_of_folders_is_the_tree() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = re.findall(r"^\| `(services/[\w/]+)` \|", text, re.MULTILINE)
    packages = {name(init.parent) for init in (ROOT / "services").rglob("*/__init__.py")}
    assert set(folders) - {folder for folder in folders if (ROOT / folder).is_dir()} == set()
    assert packages - {*folders, "services/metering/migrations/versions"} == set()
