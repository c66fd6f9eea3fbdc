"""The dashboards as they ship."""

import pytest

from deploy.dashboards.__main__ import BOARDS, text
from tests.dashboards.boards import FOLDER, NAMES, VARIABLES, BoardPanel, everything, panels, read


def test_all_boards_ship() -> None:
    assert set(NAMES) == BOARDS.keys() == {file.stem for file in FOLDER.iterdir()}


@pytest.mark.parametrize("name", NAMES)
def test_the_json_is_what_the_code_draws(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text() == text(name), "stale: run `make dashboards`"


@pytest.mark.parametrize("panel", everything(), ids=str)
def test_a_panel_says_what_it_tells_in_a_unit(panel: BoardPanel) -> None:
    assert len(panel.json["description"]) > 40
    assert panel.unit
    assert panel.json["datasource"]["uid"] == "${datasource}"
    assert all('namespace=~"$namespace"' in asked.expr for asked in panel.asks)


@pytest.mark.parametrize("name", NAMES)
def test_panels_fill_their_rows_and_do_not_overlap(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(name):
        grid = panel.json["gridPos"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not taken & cells, panel
        taken |= cells
    assert max(x for x, _ in taken) == 23
    assert len(taken) == 24 * len({y for _, y in taken})


@pytest.mark.parametrize("name", NAMES)
def test_a_board_can_be_told_apart_and_asked_about_one_installation(name: str) -> None:
    board = read(name)
    assert board["uid"] == f"hushgate-{name}"
    asked = [variable["name"] for variable in board["templating"]["list"]]
    assert asked[:2] == ["datasource", "namespace"]
    assert {"datasource", *VARIABLES} >= set(asked)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
