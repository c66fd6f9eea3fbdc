import pytest

from services.gate.core.labels import LabelSyntaxError, labels_of_stereo, parse_audacity, speech_of


def test_labels_of_audacity_are_speech_turns_and_what_is_ignored() -> None:
    labels = parse_audacity("0.5\t1.5\thello\n\\\t100\t200\n2.0\t3.0\t\n\n0.5\t3.0\tTurn\n4.0\t4.5\tignore\n")
    assert labels.speech == ((0.5, 1.5), (2.0, 3.0))
    assert labels.turns == ((0.5, 3.0),)
    assert labels.ignored == ((4.0, 4.5),)


def test_without_turns_speech_with_short_pauses_is_one() -> None:
    assert parse_audacity("0\t1\ta\n2.9\t4\tb\n6.1\t7\tc").turns == ((0.0, 4.0), (6.1, 7.0))


@pytest.mark.parametrize(
    "line", ["hello", "1.0\thello", "a\tb\tc", "2\t1\tbackwards", "-1\t1\tx", "0\tinf\tx", "nan\t1\tx"]
)
def test_a_line_without_two_times_is_refused(line: str) -> None:
    with pytest.raises(LabelSyntaxError, match="line 2"):
        parse_audacity(f"0\t1\tfine\n{line}")


def test_speech_is_where_scores_are_high_without_the_gaps_within_words() -> None:
    scores = [0.0] * 10 + [0.9] * 20 + [0.1] * 10 + [0.5] * 10 + [0.0] * 20 + [1.0] * 3 + [0.0] * 5
    assert speech_of(scores) == [(0.2, 1.0)]


def test_a_turn_of_a_stereo_call_ends_when_the_other_party_speaks_next() -> None:
    own = [(0.0, 1.0), (3.0, 4.0), (8.0, 9.0)]
    other = [(1.5, 1.8), (5.0, 7.0)]  # "mm-hm", then an answer
    assert labels_of_stereo(own, other).turns == ((0.0, 4.0), (8.0, 9.0))
    assert labels_of_stereo(own, other).speech == tuple(own)


def test_the_other_party_that_speaks_at_the_same_time_ends_no_turn() -> None:
    assert labels_of_stereo([(0.0, 3.0), (4.0, 5.0)], [(1.0, 2.5)]).turns == ((0.0, 5.0),)
