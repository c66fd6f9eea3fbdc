"""What the gate decides by: an operator's defaults, moved by the turn detection of a call."""

from dataclasses import dataclass, replace

from services.contracts.audio import FRAME_MS
from services.contracts.turn_detection import DEFAULT_THRESHOLD, DetectsTurns
from services.media.core.speech.barge_in import BargeInConfig

_LEAST_THRESHOLD = 0.001  # 0 and 1 have no logit


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Thresholds of the gate; times in frames of 20 ms, levels in dB. Probabilities are the detector's scores."""

    threshold: float = DEFAULT_THRESHOLD  # the call's: shifts the three probabilities below; 0.5: as they are
    onset_probability: float = 0.6  # higher: fewer false opens, more faint beginnings missed
    onset_frames: int = 3  # so many such frames open the gate; more: fewer false opens, shorter words missed
    barge_in_onset_frames: int = 6  # the same while an answer plays, where it is not judged
    barge_in: BargeInConfig | None = None  # what speech over an answer is judged by; None: it is not judged
    over_noise_db: float = 0.0  # an onset is at least so much louder than the noise; more: fewer opens by noise
    turn_probability: float = 0.4  # restarts the hangover; lower: turns end later in noise, fewer are cut
    resume_frames: int = 1  # so many such frames go on with the utterance
    hangover_frames: int = 25  # silence that ends the turn; more: later answers, fewer cut turns
    doubt_probability: float = 0.03  # sent all the same soon after speech; higher: less noise sent, faint ends lost
    doubt_frames: int = 8  # so long after speech; more: faint ends are kept, more noise sent
    tail_frames: int = 3  # then sent in any case, the rest of the hangover is held; fewer clip the ends of words
    audible_tail_frames: int = 6  # instead of the tail while the frames are louder than the noise
    pre_roll_frames: int = 12  # sent from before the onset, as long as it is louder than the noise
    least_pre_roll_frames: int = 8  # sent from before the onset in any case; fewer clip beginnings
    audible_db: float = 6.0  # louder than the noise means so much; less: longer tails and pre-rolls
    open_within_db: float = 12.0  # an onset is at most so much quieter than the caller; more lets voices behind in
    hold_within_db: float = 15.0  # the same for speech that restarts the hangover
    fade_db_s: float = 1.0  # so fast the caller's level is forgotten in silence; faster hears another talker sooner
    max_utterance_frames: int = 3000  # 60 s
    automatic: bool = True  # False: push to talk
    interrupts: bool = True  # opening stops the answer that plays

    def with_turn_detection(self, detection: DetectsTurns) -> "GateConfig":
        """Return this configuration with the turn detection of a call.

        The pre-roll is as long as the call asks for. Where that is the default, it depends on the level as configured.
        """
        hangover_frames = max(1, detection.silence_duration_ms // FRAME_MS)
        pre_roll_frames = detection.prefix_padding_ms // FRAME_MS
        default = pre_roll_frames == self.pre_roll_frames
        return replace(
            self,
            threshold=detection.threshold,
            hangover_frames=hangover_frames,
            pre_roll_frames=pre_roll_frames,
            least_pre_roll_frames=self.least_pre_roll_frames if default else pre_roll_frames,
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
