"""What the gate decides by: an operator's defaults, moved by the turn detection of a call."""

from dataclasses import dataclass, replace

from services.contracts.audio import FRAME_MS
from services.contracts.turn_detection import DEFAULT_THRESHOLD, DetectsTurns
from services.media.core.speech.barge_in import BargeInConfig

_LEAST_THRESHOLD = 0.001  # 0 and 1 have no logit


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Thresholds of the gate; times in frames of 20 ms, levels in dB. Probabilities are the detector's scores."""

    threshold: float = DEFAULT_THRESHOLD  # the call's: shifts the four probabilities below; 0.5: as they are
    onset_probability: float = 0.35  # adds nothing to an onset; higher: fewer false opens, faint speech is missed
    certain_probability: float = 0.7  # adds a whole frame; what is between adds a part, what is below takes away
    onset_frames: int = 4  # so many certain frames open the gate; more: fewer false opens, short words are missed
    barge_in_onset_frames: int = 6  # the same while an answer plays, where it is not judged
    barge_in: BargeInConfig | None = None  # what speech over an answer is judged by; None: it is not judged
    caller_odds: float = 3.3  # of speech at the level of a known caller; more: fewer faint words are missed
    stranger_odds: float = (
        0.5  # of speech before a caller is known; less: fewer opens by noise, more soft beginnings lost
    )
    turn_probability: float = 0.5  # restarts the hangover; lower: turns end later in noise, fewer are cut
    resume_frames: int = 1  # so many such frames restart it
    hangover_frames: int = 25  # silence that ends the turn; more: later answers, fewer cut turns
    eager_frames: int = 0  # silence after which the turn has probably ended; fewer: sooner answers, more taken back
    doubt_probability: float = 0.06  # still sent soon after speech; higher: less noise is sent, faint ends are lost
    doubt_frames: int = 5  # so soon; more: fewer faint ends are lost, more noise is sent
    tail_frames: int = 5  # sent after that, the rest of the hangover is held; fewer: ends of words are lost
    audible_tail_frames: int = 3  # so many more while they are louder than the noise
    pre_roll_frames: int = 10  # sent from before the onset; fewer: beginnings of words are lost
    audible_pre_roll_frames: int = 5  # so many more while they are louder than the noise
    audible_db: float = 6.0  # louder than the noise by so much; less: longer tails and pre-rolls
    hold_within_db: float = 15.0  # what is quieter than the caller by more does not restart the hangover; more: voices
    # in the background delay the end of the turn; less: a caller who becomes quieter is cut
    max_utterance_frames: int = 3000  # 60 s
    automatic: bool = True  # False: push to talk
    interrupts: bool = True  # opening stops the answer that plays

    def with_turn_detection(self, detection: DetectsTurns) -> "GateConfig":
        """Return this configuration with the turn detection of a call.

        The pre-roll is as long as the call asks for; only the operator's default is prolonged while it is audible.
        """
        hangover_frames = max(1, detection.silence_duration_ms // FRAME_MS)
        pre_roll_frames = detection.prefix_padding_ms // FRAME_MS
        return replace(
            self,
            threshold=detection.threshold,
            hangover_frames=hangover_frames,
            eager_frames=detection.eager_ms // FRAME_MS,
            pre_roll_frames=pre_roll_frames,
            audible_pre_roll_frames=self.audible_pre_roll_frames if pre_roll_frames == self.pre_roll_frames else 0,
            automatic=detection.automatic,
            interrupts=detection.interrupt_response,
        )

    @property
    def hangover_s(self) -> float:
        """The hangover in seconds, by which the gate closes when packets stop."""
        return self.hangover_frames * FRAME_MS / 1000

    def shifted(self, probability: float) -> float:
        """Return what a score is compared with: ``probability`` moved by the call's threshold, in logits."""
        if self.threshold == DEFAULT_THRESHOLD or not 0 < probability < 1:
            return probability
        threshold = min(max(self.threshold, _LEAST_THRESHOLD), 1 - _LEAST_THRESHOLD)
        odds = probability / (1 - probability) * threshold / (1 - threshold)
        return odds / (1 + odds)
