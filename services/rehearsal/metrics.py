"""Metrics of the rehearsal."""

from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from services.rehearsal.core.answers import AnswersName, LightReason
from services.runtime.telemetry.metrics import announce

SESSIONS_ACTIVE = Gauge(
    "hushgate_rehearsal_sessions_active",
    "Realtime sockets that are open, by how their speech is answered.",
    ["answers"],
)
for _name in get_args(AnswersName):
    SESSIONS_ACTIVE.labels(_name)  # so that the series exist from the start
RECORDED_ANSWERS = Counter(
    "hushgate_rehearsal_recorded_answers_total",
    "Answers that are a recording since speech was not recognised, by reason.",
    ["reason"],
)
announce(RECORDED_ANSWERS, get_args(LightReason))
SESSIONS_REFUSED = Counter("hushgate_rehearsal_sessions_refused_total", "Sockets not accepted, by reason.", ["reason"])
RESPONSES = Counter("hushgate_rehearsal_responses_total", "Responses that ended, by status.", ["status"])
ERRORS = Counter("hushgate_rehearsal_errors_total", "Error events sent to clients, by code.", ["code"])
FIRST_AUDIO_SECONDS = Histogram(
    "hushgate_rehearsal_first_audio_seconds",
    "Time from the request for a response to its first audio.",
    buckets=(0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5),
)
VOICE_LOST = Counter("hushgate_rehearsal_voice_lost_total", "Voice processes that exited, by role.", ["role"])
VOICE_LATE = Counter(
    "hushgate_rehearsal_voice_late_total", "Transcripts and syntheses that timed out, by role.", ["role"]
)
WAITING_UTTERANCES = Gauge("hushgate_rehearsal_waiting_utterances", "Utterances that wait for a free recogniser.")
