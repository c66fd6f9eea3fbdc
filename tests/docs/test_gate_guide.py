from tests.docs.gate_guide import GUIDE, written


def test_the_settings_and_figures_of_the_guide_are_those_of_code_and_benchmark() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert text == written(text), "run: python -m tests.docs.gate_guide"
