from itertools import groupby
from pathlib import Path

MAKEFILE = Path(__file__).parents[2] / "Makefile"
LONGEST_RECIPE = 3  # lines; longer shell is a script in bin/, which shellcheck reads


def test_no_recipe_of_the_makefile_is_longer_than_three_lines() -> None:
    recipes: list[list[str]] = [
        list(lines)
        for recipe, lines in groupby(MAKEFILE.read_text().splitlines(), lambda line: line.startswith("\t"))
        if recipe
    ]
    assert [recipe for recipe in recipes if len(recipe) > LONGEST_RECIPE] == []
