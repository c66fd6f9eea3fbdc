import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.compiled_tests import HOT, ROOT, compiled_tests, reached

COMPILED = any(Path(folder).parts[-2:] == ("build", "compiled") for folder in sys.path)  # by `make test-compiled`
PATHS = [test.partition("::")[0] for test in compiled_tests()]


@pytest.mark.parametrize("path", sorted(HOT))
def test_what_is_to_be_compiled_exists_and_is_native_where_it_was_compiled(path: str) -> None:
    source = import_module(path.removesuffix(".py").replace("/", ".")).__file__
    assert source is not None
    assert source.endswith(".so") == COMPILED
    assert (ROOT / path).is_file()


def test_every_hot_module_is_imported_by_a_test_that_runs_compiled() -> None:
    services = {str(path.relative_to(ROOT)) for path in (ROOT / "services").rglob("*.py")}
    imported = {module for path in PATHS for module in reached(path, through=services)}
    assert imported >= HOT


def test_the_test_of_each_hot_module_runs_compiled() -> None:
    names = {"test_" + module.rpartition("/")[2] for module in HOT}
    tests = {str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "media").glob("test_*.py") if path.name in names}
    assert set(PATHS) >= tests


def test_every_path_of_a_compiled_test_exists() -> None:
    assert [path for path in PATHS if not (ROOT / path).is_file()] == []
