"""One class name means one thing: no public class or type alias of the tree shares its name with another."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARED = {
    "Json": "a JSON object, as far as each side's parser types it",
}


def definitions(tree: ast.Module) -> Iterator[str]:
    """Yield the public names of the module's classes, type aliases and new types."""
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name):
                pass
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.BinOp()
                | ast.Subscript()
                | ast.Name()
                | ast.Attribute()
                | ast.Call(func=ast.Name(id="NewType")),
            ):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id="TypeAlias")):
                pass
            case _:
                continue
        if name[0].isupper() and not name.isupper():
            yield name


def definers() -> dict[str, list[str]]:
    """Return the modules that define each name."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for folder in ("services", "tests", "deploy"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for name in definitions(ast.parse(file.read_text())):
                found[name].append(file.relative_to(ROOT).as_posix())
    return found


def test_a_class_name_is_defined_once() -> None:
    repeated = {name: files for name, files in definers().items() if len(files) > 1}
    assert {name: files for name, files in repeated.items() if name not in SHARED} == {}
    assert repeated.keys() == SHARED.keys(), "an exception that is not needed"


@pytest.mark.parametrize(
    "source",
    [
        "class Leg: ...",
        "class Leg(Protocol): ...",
        "Leg = A | B",
        "Leg = Literal['a']",
        "Leg = Any",
        "Leg: TypeAlias = 'A'",
        "Leg = NewType('Leg', str)",
    ],
)
def test_a_definition_is_recognised(source: str) -> None:
    assert list(definitions(ast.parse(source))) == ["Leg"]


@pytest.mark.parametrize(
    "source", ["class _Leg: ...", "LEG = A | B", "T = TypeVar('T')", "leg = a[0]", "def leg(): ..."]
)
def test_anything_else_is_not(source: str) -> None:
    assert list(definitions(ast.parse(source))) == []
