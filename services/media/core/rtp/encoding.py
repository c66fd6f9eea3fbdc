"""Chooses the encoder for a peer's link by the packet loss that it reports."""

from dataclasses import dataclass
from typing import Literal

Profile = Literal["lowdelay", "voip"]
"""`lowdelay` has the best quality without loss; `voip` repeats each frame in the next packet (FEC) to repair loss."""
EncoderChoice = Literal["lowdelay", "voip", "auto"]

LOSSY = 0.03
"""Below this PLC alone suffices."""
CLEAN = 0.01
CLEAN_S = 30.0
"""Loss comes in bursts: switching back sooner would oscillate."""
LOSSY_REPORTS = 2
_WEIGHT = 0.5  # of the newest report; they come every 5 s or so


@dataclass(frozen=True, slots=True)
class ChangeEncoder:
    """Switch to another encoder. ``at_once``: also in the middle of speech; otherwise in the next pause.

    A new encoder clicks in the middle of speech (the second difference is 5 to 8 times the signal's own). One that has
    encoded the previous frame before, discarded, does not: to `voip` one frame is 3 dB down, to `lowdelay` 7 dB.
    """

    profile: Profile
    at_once: bool


class EncoderChooser:
    """Chooses for one leg. Loss is audible now, so `voip` is used at once; `lowdelay` waits for a pause."""

    def __init__(self, choice: EncoderChoice) -> None:
        self._auto = choice == "auto"
        self.profile: Profile = "voip" if choice == "voip" else "lowdelay"
        self.loss = 0.0  # smoothed, 0 to 1
        self._lossy_reports = 0
        self._clean_since: float | None = None

    def peer_reported(self, fraction_lost: float, *, now: float) -> ChangeEncoder | None:
        """Record the peer's loss since its last report, 0 to 1; return a change of encoder, if any."""
        self.loss += _WEIGHT * (fraction_lost - self.loss)
        if not self._auto:
            return None
        return self._to_voip() if self.profile == "lowdelay" else self._to_lowdelay(now)

    def _to_voip(self) -> ChangeEncoder | None:
        self._lossy_reports = self._lossy_reports + 1 if self.loss >= LOSSY else 0
        if self._lossy_reports < LOSSY_REPORTS:
            return None
        self._lossy_reports = 0
        self._clean_since = None
        self.profile = "voip"
        return ChangeEncoder("voip", at_once=True)

    def _to_lowdelay(self, now: float) -> ChangeEncoder | None:
        if self.loss >= CLEAN:
            self._clean_since = None
            return None
        if self._clean_since is None:
            self._clean_since = now
        if now - self._clean_since < CLEAN_S:
            return None
        self.profile = "lowdelay"
        return ChangeEncoder("lowdelay", at_once=False)
