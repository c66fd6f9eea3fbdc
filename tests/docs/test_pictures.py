import pytest

from tests.docs.pictures import DRAWN, IMAGES


@pytest.mark.parametrize("name", DRAWN)
def test_the_pictures_are_what_the_code_draws(name: str) -> None:
    assert (IMAGES / name).read_text(encoding="utf-8") == DRAWN[name](), "run: python -m tests.docs.pictures"
