import sys
from importlib import import_module
from pathlib import Path

import pytest

HOT = (Path(__file__).parents[2] / "deploy" / "hot-modules.txt").read_text().split()
COMPILED = any(Path(folder).parts[-2:] == ("build", "compiled") for folder in sys.path)  # by `make test-compiled`


@pytest.mark.parametrize("path", HOT)
def test_what_is_to_be_compiled_exists_and_is_native_where_it_was_compiled(path: str) -> None:
    source = import_module(path.removesuffix(".py").replace("/", ".")).__file__
    assert source is not None
    assert source.endswith(".so") == COMPILED
    assert (Path(__file__).parents[2] / path).is_file()
