from tests.docs.sizing import GUIDE, written


def test_the_sizing_table_is_what_the_measured_figures_give() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert text == written(text), "run: python -m tests.docs.sizing"
