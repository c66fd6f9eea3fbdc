from services.gate.core.envelope import Envelope


def test_a_short_stream_has_a_column_for_each_frame() -> None:
    envelope = Envelope(max_columns=8)
    for number in range(3):
        envelope.add(-number, number, number / 10)
    assert envelope.columns == [(0, 0, 0.0), (-1, 1, 0.1), (-2, 2, 0.2)]
    assert envelope.frames_per_column == 1


def test_however_long_a_stream_is_its_columns_are_bounded_and_keep_the_extremes() -> None:
    envelope = Envelope(max_columns=8)
    for number in range(1_000):
        envelope.add(-float(number == 77), float(number == 500), float(number == 999))
    assert envelope.frames_per_column == 128
    lows, highs, scores = zip(*envelope.columns, strict=True)
    assert len(lows) == 8  # 1000 frames in columns of 128
    assert (lows[0], highs[3], scores[7]) == (-1.0, 1.0, 1.0)
    assert sum(lows) + sum(highs) + sum(scores) == 1.0
