"""Which tests run on the compiled modules: those of a service that import one of its modules in deploy/hot-modules.txt.

Tests of other services use hot modules only as data (a frame, a clock), and would take long.
`python -m tests.compiled_tests` prints the paths for `make test-compiled`.
"""

import ast
import sys
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOT = frozenset((ROOT / "deploy" / "hot-modules.txt").read_text().split())
# That every hot module is native, and one call over a whole gateway.
ALWAYS = (
    "tests/media/test_compiled.py",
    "tests/system/test_call.py::test_speaking_over_the_answer_stops_it_and_truncates_where_it_was_heard",
)


def compiled_tests() -> list[str]:
    """The paths of the test files, relative to the root, and the ids of single tests, sorted."""
    files = (str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))
    return sorted({path for path in files if _tests_hot_module(path)}.union(ALWAYS))


def reached(path: str, *, through: Collection[str] = HOT) -> set[str]:
    """The modules that the one at `path` imports, with those that tests' helpers and modules in `through` import."""
    found: set[str] = set()
    pending = [path]
    while pending:
        new = imports(pending.pop()) - found
        found |= new
        pending.extend(module for module in new if module in through or module.startswith("tests/"))
    return found


@cache
def imports(path: str) -> frozenset[str]:
    """The modules of ours that the one at `path` imports, as paths."""
    tree = ast.parse((ROOT / path).read_text())
    files = (name.replace(".", "/") + ".py" for node in ast.walk(tree) for name in _names(node))
    return frozenset(file for file in files if (ROOT / file).is_file())


def _tests_hot_module(path: str) -> bool:
    """Say whether a test imports a hot module of its service, or is named after one, which it gets from a fixture."""
    _, service, *_, name = path.split("/")
    own = {module for module in HOT if module.startswith(f"services/{service}/")}
    named = any("test_" + module.rpartition("/")[2] == name for module in own)
    return named or bool(own & reached(path))


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the modules that an import statement may mean; `from a import b` means `a` or `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


if __name__ == "__main__":
    sys.stdout.write("\n".join(compiled_tests()) + "\n")
