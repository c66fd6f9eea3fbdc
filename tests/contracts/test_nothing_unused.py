"""All that contracts declare is written by one service and read by one: checked by the syntax tree, not by types."""

import ast
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel

from services.contracts import messages, usage
from services.contracts.endings import EndReason
from services.contracts.grant import Grant, Limits
from services.media.settings import MediaSettings
from services.metering.settings import MeteringSettings
from services.rehearsal.settings import RehearsalSettings
from services.runtime.process.settings import ServiceSettings
from services.signaling.settings import SignalingSettings
from services.upstream.settings import UpstreamSettings

SERVICES = Path(__file__).parents[2] / "services"
MESSAGES: tuple[type[BaseModel], ...] = (
    *typing.get_args(typing.get_args(messages.AnyMessage)[0]),
    Grant,
    Limits,
    usage.UsageData,
    usage.UsageEvent,
)
SETTINGS: tuple[type[ServiceSettings], ...] = (
    MediaSettings,
    MeteringSettings,
    RehearsalSettings,
    SignalingSettings,
    UpstreamSettings,
)
CARRIERS = {
    Grant: "Offer",
    Limits: "Grant",
    usage.UsageData: "UsageEvent",
    messages.TurnDetection: "DetectsTurns",
}
"""Fields that are read where only the enclosing message, or the base of this one, has a name."""
UNUSED_FIELDS = {
    "Hangup.leg": "a call has one leg that is served; rooms will name another",
    "Restart.leg": "the same",
    "UsageData.price_book": "part of the content hash of every event on a disk: without it they would be quarantined",
}
UNUSED_SETTINGS = {
    "SIGNALING_DATA_DIR": "every process is given a directory; signaling keeps nothing on a disk",
    "REHEARSAL_DATA_DIR": "the same",
}


@cache
def modules() -> dict[str, ast.Module]:
    return {
        file.relative_to(SERVICES).as_posix(): ast.parse(file.read_text())
        for file in SERVICES.rglob("*.py")
        if file.relative_to(SERVICES).parts[0] != "contracts"
    }


@cache
def usage_module() -> ast.Module:
    return ast.parse((SERVICES / "contracts" / "usage.py").read_text())


@cache
def names(tree: ast.AST) -> set[str]:
    """Return every name and attribute name in ``tree``."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                found.add(name)
    return found


@cache
def reads(tree: ast.AST) -> set[str]:
    """Return every attribute that is read, also by a pattern."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name, ctx=ast.Load()):
                found.add(name)
            case ast.MatchClass(kwd_attrs=patterns):
                found.update(patterns)
    return found


@cache
def calls(tree: ast.AST) -> dict[str, set[str | None]]:
    """Return the keywords of all calls in ``tree`` by the name that is called; None is a mapping that is passed."""
    found: dict[str, set[str | None]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                found.setdefault(name, set()).update(keyword.arg for keyword in node.keywords)
    return found


def written(tree: ast.AST, message: type[BaseModel]) -> set[str]:
    """Return the fields that calls of ``message`` set; all if they pass a mapping."""
    keywords = calls(tree).get(message.__name__, set())
    return {name for name in keywords if name} | (set(message.model_fields) if None in keywords else set())


def fields_of(message: type[BaseModel]) -> set[str]:
    """Return the fields that must be set, without discriminators, which have a single possible value."""
    return {
        name
        for name, field in message.model_fields.items()
        if typing.get_origin(field.annotation) is not typing.Literal or len(typing.get_args(field.annotation)) > 1
    }


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message.__name__))
def test_every_field_of_a_message_is_written_and_read(message: type[BaseModel]) -> None:
    name = message.__name__
    trees = list(modules().values())
    makers = [*trees, usage_module()]  # seals events itself
    near = [tree for tree in trees if {name, CARRIERS.get(message, name)} & names(tree)]
    used = set().union(*(written(tree, message) for tree in makers)) & set().union(*map(reads, near))
    unused = {f"{name}.{field}" for field in fields_of(message) - used}
    assert unused == {field for field in UNUSED_FIELDS if field.startswith(f"{name}.")}


def produced(tree: ast.AST) -> Iterator[str]:
    """Return the members of `EndReason` that are used as a value, not only compared with."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Compare | ast.Set | ast.MatchValue):
            continue
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "EndReason":
            yield node.attr
        yield from produced(node)


def test_every_reason_for_an_ending_is_given_somewhere() -> None:
    given = {name for tree in modules().values() for name in produced(tree)}
    assert {reason.name for reason in EndReason} - given == set()


def test_every_meter_is_measured_by_media_or_upstream() -> None:
    measured = (names(tree) for name, tree in modules().items() if name.split("/")[0] in ("media", "upstream"))
    assert {meter.name for meter in usage.Meter} - set().union(*measured) == set()


def metrics_of(tree: ast.Module) -> set[str]:
    """Return the constants of a module that are metrics."""
    return {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.isupper()
    }


@pytest.mark.parametrize("module", sorted(name for name in modules() if name.endswith("metrics.py")))
def test_every_metric_is_touched_outside_of_its_module(module: str) -> None:
    outside = set().union(*(names(tree) for name, tree in modules().items() if name != module))
    assert metrics_of(modules()[module]) - outside == set()


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: str(settings.__name__))
def test_every_setting_is_read(settings: type[ServiceSettings]) -> None:
    service = settings.__module__.split(".")[1]
    trees = [tree for name, tree in modules().items() if name.split("/")[0] in (service, "runtime")]
    nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    by_text = {node.value for node in nodes if isinstance(node.value, str)}
    by_secret = {f"{text}_file" for text in by_text}  # `secret("name")` reads NAME or NAME_FILE
    unread = set(settings.model_fields) - set().union(*map(reads, trees)) - by_text - by_secret
    unused = {settings.env_name(name) for name in unread}
    assert unused == {name for name in UNUSED_SETTINGS if name.startswith(f"{service.upper()}_")}
