"""Finds the private names of aiortc, aioice and pylibsrtp that a module uses, from its syntax tree."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

from services.runtime.aiortc_names import VERSIONS, declares


def touched(path: Path) -> set[str]:
    """The private names that ``path`` reads, sets, calls or overrides, and public ones that it replaces on an object.

    Private methods of a `Protocol` count: they are what aiortc calls of an object of ours.
    Its own private names do not count, nor does a module that imports nothing of the three packages.
    """
    tree = ast.parse(path.read_text())
    imported = dict(_imports(tree))
    if not imported:
        return set()
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    foreign = {one.name: base for one in classes if (base := _base(one, imported)) is not None}
    own = {name for one in classes if one.name not in foreign for name in _defined(one)} | _defined(tree)
    found = {name for one in classes if one.name in foreign for name in _inherited(one, foreign[one.name])}
    found |= {name for one in classes if _is_protocol(one) for name in _defined(one) if _is_private(name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and not _is_self(node.value):
            found |= {node.attr} if _is_super(node.value) else {node.attr} - own
    return found | _replaced(tree)


def _imports(tree: ast.Module) -> Iterator[tuple[str, object]]:
    """Local names of imports from the three packages."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in VERSIONS:
            module = importlib.import_module(node.module)
            for alias in node.names:
                yield alias.asname or alias.name, getattr(module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in VERSIONS:
                    yield alias.asname or alias.name, importlib.import_module(alias.name)


def _base(one: ast.ClassDef, imported: dict[str, object]) -> type | None:
    for base in one.bases:
        found = imported.get(base.id) if isinstance(base, ast.Name) else None
        if inspect.isclass(found):
            return found
    return None


def _replaced(tree: ast.Module) -> set[str]:
    """Methods of other objects that a function of this module replaces."""
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return {
        target.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in functions
        for target in node.targets
        if isinstance(target, ast.Attribute) and not _is_self(target.value)
    }


def _inherited(one: ast.ClassDef, base: type) -> set[str]:
    """Members of ``base`` that a subclass overrides, reads or sets."""
    names = {node.attr for node in ast.walk(one) if isinstance(node, ast.Attribute) and _is_self(node.value)}
    return {name for name in names | _defined(one) if _is_private(name) and declares(base, name)}


def _defined(scope: ast.ClassDef | ast.Module) -> set[str]:
    """The methods, functions and fields that ``scope`` itself defines."""
    functions = {node.name for node in scope.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    if isinstance(scope, ast.Module):
        return functions
    stored = {
        node.attr
        for node in ast.walk(scope)
        if isinstance(node, ast.Attribute) and _is_self(node.value) and isinstance(node.ctx, ast.Store)
    }
    return functions | stored


def _is_protocol(one: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in one.bases)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def _is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
