"""The rows for the gate: what opens it and ends turns, and what it costs when that was no speech."""

from deploy.dashboards.panel_kit import About, Board, Panel, Query, lines
from deploy.dashboards.promql import PROVIDER, or_zero, quantile, rate, total

_CHUNK_FRAMES = 1.6
"""A chunk of the second stage is 32 ms, a frame 20 ms."""


def latency_row(board: Board) -> None:
    """Add the row of the Latency dashboard to ``board``."""
    board.row("Gate: who speaks, and when a turn ends", *_moves(), *_detector(), *_barge_ins())


def cost_row(board: Board) -> None:
    """Add the row of the Cost dashboard to ``board``."""
    board.row("Gate: what is sent", *_spent())


def _a_minute(name: str, *by: str) -> str:
    return f"{total(rate(name), *by)} * 60"


def _moves() -> tuple[Panel, ...]:
    return (
        lines(
            About(
                "Gate: opens",
                "A minute, by cause. Many more than turns: noise opens the gate. Record a call and try settings on it "
                "with hushgate gate (docs/gate.md).",
                "cpm",
            ),
            Query(_a_minute("gate_opens_total", "cause"), "{{cause}}"),
        ),
        lines(
            About(
                "Gate: closes",
                "A minute, by reason. `speech_end` is the hangover; `no_packets` a client that stopped sending; "
                "`max_utterance` somebody whom noise keeps open: raise the threshold of such sessions.",
                "cpm",
            ),
            Query(_a_minute("gate_closes_total", "reason"), "{{reason}}"),
        ),
        lines(
            About(
                "Turns without words",
                "A minute: turns whose transcript is empty, an estimate of how often noise is taken for a turn. Only "
                "sessions with transcription count.",
                "cpm",
            ),
            Query(f"{total(rate('turn_transcripts_total', _content('nothing')))} * 60", "without words"),
            Query(f"{total(rate('turn_transcripts_total'))} * 60", "all with a transcript"),
        ),
    )


def _detector() -> tuple[Panel, ...]:
    frames = total(rate("detector_batch_frames_sum"))
    return (
        lines(
            About(
                "Detector: time for a batch",
                "The frames of all calls in a turn of the event loop. Above 10 ms packets leave late: lower "
                "MEDIA_MAX_CALLS, or set MEDIA_VAD=webrtcvad.",
                "s",
            ),
            *(Query(quantile(q, "detector_seconds"), f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)),
        ),
        lines(
            About(
                "Detector: second stage",
                "Share of callers' audio for which Silero ran, as earshot heard what may be speech. Near 1 with few "
                "turns: noisy lines, and up to twice the detector's CPU time.",
                "percentunit",
            ),
            Query(or_zero(f"{total(rate('detector_chunks_total'))} * {_CHUNK_FRAMES} / {frames}"), "share"),
            top=1,
        ),
        lines(
            About(
                "Detector: given up",
                "Frames a second that passed without full detection: `failed` all of them, `behind` those that may be "
                "speech, as the process was too busy. Callers notice nothing; more is billed.",
                "ops",
            ),
            Query(total(rate("detector_passed_frames_total"), "reason"), "{{reason}}"),
        ),
    )


def _barge_ins() -> tuple[Panel, ...]:
    return (
        lines(
            About(
                "Sounds over an answer",
                "A minute, by what they were judged to be: only `speech` stops the answer. Many echoes: clients "
                "without echo cancellation. Many timeouts: sounds between speech and noise.",
                "cpm",
            ),
            Query(_a_minute("barge_in_sounds_total", "outcome"), "{{outcome}}"),
        ),
        lines(
            About(
                "Answers held, p95",
                "How long an answer was silent until a sound was judged. Callers hear it as a short gap; longer ones "
                "come from sounds that are hard to tell from speech.",
                "s",
            ),
            Query(quantile(0.95, "barge_in_held_seconds"), "p95"),
        ),
        lines(
            About(
                "Barge-in: onset until the answer is given up",
                "The answer is held before, so callers hear silence sooner. Above 0.7 s speech is judged at the last "
                "moment: lower MEDIA_VAD_BARGE_IN_SPEECH_MS.",
                "s",
            ),
            *(Query(quantile(q, "barge_in_cut_latency_seconds"), f"p{q * 100:.0f}") for q in (0.5, 0.95)),
        ),
    )


def _content(value: str) -> str:
    return f'content="{value}"'


def _spent() -> tuple[Panel, ...]:
    sent = total(rate("usage_units_total", PROVIDER, 'meter="audio_sent_ms"'))
    transcripts = total(rate("turn_transcripts_total"))
    return (
        lines(
            About(
                "Seconds sent for each opening",
                "Audio that is billed each time the gate opens, with pre-roll and tail. It rises with long turns, and "
                "with noise that keeps the gate open.",
                "s",
                width=12,
            ),
            Query(f"{sent} / 1000 / {total(rate('gate_opens_total'))}", "sent"),
        ),
        lines(
            About(
                "Share of turns without words",
                "Each is billed with an answer to it. Above 5 % find out which line or tenant is noisy, and raise "
                "MEDIA_VAD_ONSET_MS or the threshold of its sessions (docs/gate.md).",
                "percentunit",
                width=12,
            ),
            Query(or_zero(f"{total(rate('turn_transcripts_total', _content('nothing')))} / {transcripts}"), "empty"),
            top=0.1,
        ),
    )
