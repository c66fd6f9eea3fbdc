"""The guide for clients lists every field of a session and of a response, and what each lock closes."""

from tests.docs.session_fields import GUIDE, written


def test_the_tables_of_fields_and_locks_are_those_of_the_grammar() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert text == written(text), "run python -m tests.docs.session_fields"
