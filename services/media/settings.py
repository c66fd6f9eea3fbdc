"""Settings of a media process, the environment variables `MEDIA_*`."""

from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from services.contracts.audio import FRAME_MS
from services.contracts.turn_detection import TurnTerms, eager_within
from services.media.core.network import addresses
from services.media.core.rtp.encoding import EncoderChoice
from services.media.core.speech.barge_in import BargeInConfig
from services.media.core.speech.detectors.webrtc import DEFAULT_MODE, WebrtcConfig
from services.media.core.speech.gate_config import GateConfig
from services.media.detectors import ChosenDetector, DetectorChoice, choose_detector
from services.runtime.process.settings import ServiceSettings

MAX_PORT = 65_535


class MediaSettings(ServiceSettings):
    """Settings of one media process. VAD times are multiples of a frame."""

    model_config = SettingsConfigDict(env_prefix="MEDIA_", frozen=True, extra="ignore", hide_input_in_errors=True)

    advertised_address: str
    """IP addresses of this process for clients, separated by commas, by preference; at most eight. Each becomes a
    candidate of the answer, and clients try all. `loopback` stands for 127.0.0.1 and ::1, `interfaces` for the
    addresses of this machine's interfaces, re-read when they change.

    No default: with a wrong address calls have no audio.
    """
    extra_addresses: str = ""
    """Additional addresses of the same ports, with lower preference, as a VPN's."""
    external_addresses: dict[str, str] = Field(default_factory=dict)
    """With 1:1 NAT: the external address (preferred) by the internal one, as JSON. All nodes may share one map.
    """
    processes: int = Field(default=1, ge=1, le=64)
    """Media processes of this pod, one per core. From 2 on, this process is their parent and carries no calls."""
    udp_port: int = Field(default=0, ge=0, le=65535)
    """UDP port of media; the processes of a pod use this port and the next ones. 0: free ports."""
    slot: int = Field(default=0, ge=0, le=9_999)
    """Separates the ports of pods at one address: slot n begins n times PROCESSES above UDP_PORT."""
    udp_everywhere: bool = False
    """Receive on all addresses of this machine, not only on the advertised ones: needed for a pod whose NodePort is
    advertised as 127.0.0.1.
    """
    max_calls: int = Field(default=110, ge=1)
    """Concurrent calls. A core carries 110 with continuous speech, 180 at 42 % (docs/performance.md)."""
    lost_after_s: float = Field(default=5, ge=1, le=60)
    """Time without a packet after which a client is lost: playout pauses, and it may recover."""
    gone_after_s: float = Field(default=30, ge=2, le=600)
    """Time without a packet after which a client is gone: the call ends as `client_gone`."""
    revoke_after_s: float = Field(default=15, ge=1, le=20)
    """How long no signaling process must have known the tenant or key of a call, then it ends as `revoked`."""
    drain_timeout_s: float = Field(default=3600, gt=0)
    """How long calls may continue after SIGTERM; then they end as `drained`."""
    zone: str = Field(default="", max_length=64)
    """Where this process runs: a signaling process whose SIGNALING_ZONE is the same prefers it."""
    encoder: EncoderChoice = "auto"
    """`lowdelay`: best quality (80 kbit/s); `voip`: robust to loss (32 kbit/s, 3 times the CPU); `auto`: by loss."""
    vad: DetectorChoice = "auto"
    """The speech detector. `silero` tells speech from noise better than `webrtcvad` and takes ten times its CPU; `auto`
    is `silero` where the extra `vad` and the model are installed.
    """
    vad_model: str = ""
    """Path of Silero's model, silero_vad_16k_op15.onnx. Empty: that of the installed package silero-vad."""
    vad_mode: int = Field(default=DEFAULT_MODE, ge=0, le=3)
    """webrtcvad's aggressiveness: 0 classifies most frames as speech, 3 the fewest."""
    vad_gain_db: int = Field(default=0, ge=0, le=40)
    """Maximum gain for quiet callers, applied to webrtcvad's input only. silero adapts by itself."""
    vad_onset_score: float = Field(default=0.35, gt=0, lt=1)
    """Score that adds nothing to an onset; below, it takes away. Lower hears fainter speech and more noise."""
    vad_certain_score: float = Field(default=0.7, gt=0, lt=1)
    """Score that counts in full for an onset, between the two in part. Lower opens sooner, also by noise."""
    vad_onset_ms: int = Field(default=80, ge=20, le=1000, multiple_of=FRAME_MS)
    """So much certain speech opens the gate. Longer: fewer false opens, and short words are missed."""
    vad_barge_in_onset_ms: int = Field(default=120, ge=20, le=2000, multiple_of=FRAME_MS)
    """Speech that stops an answer (barge-in) if it is not judged. Lower stops sooner, also for a cough."""
    vad_barge_in_judged: bool = True
    """Hold an answer while it is judged whether the caller speaks: coughs, "mm-hm", tones and echoes do not stop it."""
    vad_barge_in_hold_ms: int = Field(default=40, ge=20, le=500, multiple_of=FRAME_MS)
    """Speech that holds an answer. Lower is sooner silent when the caller speaks, and more often for nothing."""
    vad_barge_in_speech_ms: int = Field(default=60, ge=20, le=500, multiple_of=FRAME_MS)
    """Voiced, open speech that stops an answer. Lower stops sooner, higher for fewer coughs and hums."""
    vad_barge_in_max_hold_ms: int = Field(default=700, ge=200, le=2000, multiple_of=FRAME_MS)
    """How long an answer is held without a decision. Higher waits for slow speech, and pauses longer for noise."""
    vad_caller_odds: float = Field(default=3.3, ge=1, le=20)
    """Odds of speech at the level of a caller who has spoken for a second. More hears fainter words, and more noise."""
    vad_stranger_odds: float = Field(default=0.5, ge=0.05, le=1)
    """Odds of speech before that. Less: noise opens less often, and more soft beginnings of calls are lost."""
    vad_turn_score: float = Field(default=0.5, gt=0, lt=1)
    """Score that restarts the hangover. Lower cuts fewer turns, and noise delays their ends."""
    vad_resume_ms: int = Field(default=20, ge=20, le=500, multiple_of=FRAME_MS)
    """Speech that restarts the hangover. Longer: clicks do not, and short words may be cut off from their turn."""
    vad_hold_within_db: float = Field(default=15, ge=3, le=60)
    """Speech that is quieter than the caller by more does not restart the hangover, and has no better odds. More:
    background voices delay the end of a turn; less: a caller who becomes quieter is cut.
    """
    vad_hangover_ms: int = Field(default=500, ge=100, le=5000, multiple_of=FRAME_MS)
    """Silence that ends an utterance. Lower answers sooner and cuts slow speakers off."""
    vad_eager_ms: int = Field(default=300, ge=0, le=5000, multiple_of=FRAME_MS)
    """Silence after which the answer is requested, unheard until the hangover is over; 0: not before. Lower answers
    sooner and takes more answers back, which are paid for."""
    vad_doubt_score: float = Field(default=0.06, gt=0, lt=1)
    """Score that is still sent soon after speech. Lower keeps faint ends of words, and sends more noise."""
    vad_doubt_ms: int = Field(default=100, ge=0, le=1000, multiple_of=FRAME_MS)
    """How soon after speech that is. Longer keeps faint ends of words, and sends more noise."""
    vad_tail_ms: int = Field(default=100, ge=0, le=5000, multiple_of=FRAME_MS)
    """Silence after speech that is sent at once; the rest of the hangover only if speech resumes. Lower clips words.
    For webrtcvad 160 is better.
    """
    vad_audible_tail_ms: int = Field(default=60, ge=0, le=5000, multiple_of=FRAME_MS)
    """So much more of it while it is louder than the noise. Less clips faint ends of words."""
    vad_pre_roll_ms: int = Field(default=200, ge=0, le=2000, multiple_of=FRAME_MS)
    """Audio from before the onset that is sent in any case. Less clips words."""
    vad_audible_pre_roll_ms: int = Field(default=100, ge=0, le=2000, multiple_of=FRAME_MS)
    """So much more of it while it is louder than the noise. Less clips words that begin softly."""
    vad_audible_db: float = Field(default=6, ge=0, le=60)
    """Louder than the noise means by so much. Less: longer tails and pre-rolls."""
    vad_max_utterance_s: int = Field(default=60, ge=1, le=600)
    vad_min_silence_ms: int = Field(default=100, ge=20, le=5000, multiple_of=FRAME_MS)
    """Least `silence_duration_ms` that a session may set; VAD_HANGOVER_MS is what applies where it sets none."""
    vad_max_silence_ms: int = Field(default=10_000, ge=100, le=60_000, multiple_of=FRAME_MS)
    """Greatest `silence_duration_ms` that a session may set. So much silence of a call is kept in memory."""
    vad_max_prefix_padding_ms: int = Field(default=2000, ge=0, le=10_000, multiple_of=FRAME_MS)
    """Greatest `prefix_padding_ms` that a session may set; VAD_PRE_ROLL_MS is what applies where it sets none."""

    @field_validator("advertised_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return ",".join(addresses.parse(value))

    @field_validator("extra_addresses")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        return ",".join(addresses.parse(value)) if value else ""

    @field_validator("external_addresses")
    @classmethod
    def _maps_addresses(cls, value: dict[str, str]) -> dict[str, str]:
        inner, outer = zip(*value.items(), strict=True) if value else ((), ())
        return dict(zip(map(addresses.parse_one, inner), map(addresses.parse_one, outer), strict=True))

    @model_validator(mode="after")
    def _not_too_many_addresses(self) -> Self:
        addresses.parse(",".join(self.addresses))
        return self

    @model_validator(mode="after")
    def _lost_before_gone(self) -> Self:
        if self.lost_after_s >= self.gone_after_s:
            raise ValueError("MEDIA_LOST_AFTER_S must be less than MEDIA_GONE_AFTER_S")
        return self

    @model_validator(mode="after")
    def _settings_of_its_detector(self) -> Self:
        if self.vad != "webrtcvad" and (self.vad_mode, self.vad_gain_db) != (DEFAULT_MODE, 0):
            raise ValueError("VAD_MODE and VAD_GAIN_DB are webrtcvad's: set VAD=webrtcvad, or leave them at 3 and 0")
        if self.vad == "webrtcvad" and self.vad_model:
            raise ValueError("VAD_MODEL is silero's: set VAD=silero, or leave it empty")
        return self

    @model_validator(mode="after")
    def _gate_is_in_order(self) -> Self:
        if self.vad_tail_ms > self.vad_hangover_ms:
            raise ValueError("VAD_TAIL_MS is part of VAD_HANGOVER_MS and cannot be longer")
        if self.vad_onset_score >= self.vad_certain_score:
            raise ValueError("VAD_ONSET_SCORE must be less than VAD_CERTAIN_SCORE")
        if self.vad_doubt_score > self.vad_turn_score:
            raise ValueError("VAD_DOUBT_SCORE must not exceed VAD_TURN_SCORE")
        return self

    @model_validator(mode="after")
    def _defaults_are_within_bounds(self) -> Self:
        if not self.vad_min_silence_ms <= self.vad_hangover_ms <= self.vad_max_silence_ms:
            raise ValueError("VAD_HANGOVER_MS must be from VAD_MIN_SILENCE_MS to VAD_MAX_SILENCE_MS")
        if self.vad_pre_roll_ms > self.vad_max_prefix_padding_ms:
            raise ValueError("VAD_PRE_ROLL_MS must not exceed VAD_MAX_PREFIX_PADDING_MS")
        return self

    @model_validator(mode="after")
    def _ports_exist(self) -> Self:
        last = self.first_udp_port + self.processes - 1
        if max(last, self.http_port + self.processes * (self.processes > 1)) > MAX_PORT:
            raise ValueError(
                f"UDP_PORT and HTTP_PORT leave no room below {MAX_PORT} for those of {self.processes} PROCESSES"
                f"{f' in SLOT {self.slot}' if self.slot else ''}"
            )
        return self

    @model_validator(mode="after")
    def _slot_counts_from_a_port(self) -> Self:
        if self.slot and not self.udp_port:
            raise ValueError("MEDIA_SLOT needs a MEDIA_UDP_PORT to count from")
        return self

    @property
    def first_udp_port(self) -> int:
        """The UDP port of the pod's first process; 0: free ports."""
        return self.udp_port + self.slot * self.processes if self.udp_port else 0

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses that clients are given, by preference; `loopback` and `interfaces` are not resolved yet."""
        own = self.advertised_address.split(",")
        told = [host for inner in own for host in (self.external_addresses.get(inner, inner), inner)]
        return tuple(dict.fromkeys(told + [host for host in self.extra_addresses.split(",") if host]))

    @property
    def settle_timeout_s(self) -> float:
        """How long process exit waits for usage to reach the ledger; the rest stays in the outbox."""
        return min(10.0, self.drain_timeout_s / 2)

    @property
    def gate(self) -> GateConfig:
        """The gate's thresholds, converted from ms to frames."""
        return GateConfig(
            onset_probability=self.vad_onset_score,
            certain_probability=self.vad_certain_score,
            onset_frames=self.vad_onset_ms // FRAME_MS,
            barge_in_onset_frames=self.vad_barge_in_onset_ms // FRAME_MS,
            barge_in=self._barge_in if self.vad_barge_in_judged else None,
            caller_odds=self.vad_caller_odds,
            stranger_odds=self.vad_stranger_odds,
            turn_probability=self.vad_turn_score,
            resume_frames=self.vad_resume_ms // FRAME_MS,
            hold_within_db=self.vad_hold_within_db,
            hangover_frames=self.vad_hangover_ms // FRAME_MS,
            eager_frames=eager_within(self.vad_eager_ms, self.vad_hangover_ms) // FRAME_MS,
            doubt_probability=self.vad_doubt_score,
            doubt_frames=self.vad_doubt_ms // FRAME_MS,
            tail_frames=self.vad_tail_ms // FRAME_MS,
            audible_tail_frames=self.vad_audible_tail_ms // FRAME_MS,
            pre_roll_frames=self.vad_pre_roll_ms // FRAME_MS,
            audible_pre_roll_frames=self.vad_audible_pre_roll_ms // FRAME_MS,
            audible_db=self.vad_audible_db,
            max_utterance_frames=self.vad_max_utterance_s * 1000 // FRAME_MS,
        )

    @property
    def _barge_in(self) -> BargeInConfig:
        return BargeInConfig(
            hold_frames=self.vad_barge_in_hold_ms // FRAME_MS,
            speech_frames=self.vad_barge_in_speech_ms // FRAME_MS,
            max_hold_frames=self.vad_barge_in_max_hold_ms // FRAME_MS,
        )

    @property
    def turns(self) -> TurnTerms:
        """Defaults and bounds of what a session may set of turn detection."""
        return TurnTerms(
            silence_duration_ms=self.vad_hangover_ms,
            min_silence_duration_ms=self.vad_min_silence_ms,
            max_silence_duration_ms=self.vad_max_silence_ms,
            prefix_padding_ms=self.vad_pre_roll_ms,
            max_prefix_padding_ms=self.vad_max_prefix_padding_ms,
            eager_ms=self.vad_eager_ms,
        )

    @property
    def chosen_detector(self) -> ChosenDetector:
        """The detector that these settings mean on this machine; raises SettingsError where it is not complete."""
        return choose_detector(self.vad, self.vad_model)

    @property
    def webrtc_detector(self) -> WebrtcConfig:
        """The configuration of WebRTC's detector."""
        return WebrtcConfig(mode=self.vad_mode, max_gain_db=self.vad_gain_db)
