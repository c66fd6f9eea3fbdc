"""What a picture of a stream needs, in a bounded number of columns however long the stream is."""

from collections.abc import Sequence

_Column = tuple[float, float, float]


class Envelope:
    """Lowest and highest sample and highest score of each column; columns get wider as the stream goes on."""

    def __init__(self, *, max_columns: int = 8_000) -> None:
        self._max_columns = max_columns
        self.frames_per_column = 1
        self._columns: list[_Column] = []
        self._rest: list[_Column] = []  # frames of the column that is not complete yet

    def add(self, low: float, high: float, score: float) -> None:
        """Add a frame: its lowest and highest sample (full scale ±1) and its score."""
        self._rest.append((low, high, score))
        if len(self._rest) == self.frames_per_column:
            self._columns.append(_joined(self._rest))
            self._rest = []
            if len(self._columns) == self._max_columns:
                self._columns = [_joined(self._columns[at : at + 2]) for at in range(0, self._max_columns, 2)]
                self.frames_per_column *= 2

    @property
    def columns(self) -> list[_Column]:
        """The columns (low, high, score), in order."""
        return [*self._columns, _joined(self._rest)] if self._rest else self._columns


def _joined(columns: Sequence[_Column]) -> _Column:
    lows, highs, scores = zip(*columns, strict=True)
    return min(lows), max(highs), max(scores)
