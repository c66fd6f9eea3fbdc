"""Prometheus metrics of the upstream workers."""

from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from services.contracts.messages import ClaimRefusal
from services.runtime.telemetry.metrics import announce
from services.upstream.core.capabilities import Capability
from services.upstream.core.commands import EagerLimit, EagerOutcome, ErrorKind, RateOwner, TurnStage
from services.upstream.core.minute_use import RateKind

SESSIONS_ACTIVE = Gauge("hushgate_upstream_sessions_active", "Sessions with a provider that are open now.")
SESSIONS_CAPACITY = Gauge("hushgate_upstream_sessions_capacity", "Calls that this worker may own at a time.")
CALLS_OWNED = Gauge("hushgate_upstream_calls_owned", "Calls that this worker holds the lease of.")
CLAIMS = Counter("hushgate_upstream_claims_total", "Claims answered, by outcome.", ["outcome"])
announce(CLAIMS, ("granted", *get_args(ClaimRefusal)))
CONNECT_DURATION = Histogram(
    "hushgate_upstream_connect_duration_seconds",
    "From opening the provider's socket to its session.created.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
IN_FORCE_DURATION = Histogram(
    "hushgate_upstream_session_in_force_seconds",
    "From a provider's session.created until it has confirmed the session that it was sent.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
ERRORS = Counter("hushgate_upstream_errors_total", "Errors of a provider, by kind.", ["kind"])
announce(ERRORS, get_args(ErrorKind))
PROVIDER_CODE = "provider"
ERROR_CODES = frozenset(
    {
        "cannot_update_voice",
        "conversation_already_has_active_response",
        "event_too_complex",
        "event_too_large",
        "input_audio_buffer_commit_empty",
        "invalid_event",
        "invalid_json",
        "invalid_type",
        "invalid_value",
        "item_create_duplicate_id",
        "locked_by_token",
        "missing_required_parameter",
        "rate_limit_exceeded",
        "response_cancel_not_active",
        "response_timeout",
        "session_refused",
        "too_many_events",
        "unknown_parameter",
        "unsupported_by_provider",
        "update_unconfirmed",
    }
)
"""The codes of the gateway's own `error` events; others are the provider's, or name an item that is unknown."""
CLIENT_ERRORS = Counter(
    "hushgate_upstream_client_errors_total",
    "Error events sent to clients, by code; 'provider': any other code, as the provider's own.",
    ["code"],
)
announce(CLIENT_ERRORS, (*sorted(ERROR_CODES), PROVIDER_CODE))
MISSING = Counter(
    "hushgate_upstream_missing_capability_total",
    "Sessions that needed what their provider cannot do, by capability.",
    ["capability"],
)
announce(MISSING, get_args(Capability))
RATE_REFUSALS = Counter(
    "hushgate_upstream_rate_refusals_total",
    "Responses and pieces of audio that were refused, by whose rate (token or tenant) and which.",
    ["owner", "rate"],
)
for _owner in get_args(RateOwner):
    for _rate in get_args(RateKind):
        RATE_REFUSALS.labels(_owner, _rate)
RATES_ALONE = Counter(
    "hushgate_upstream_rates_alone_total",
    "Times that a tenant's rates were judged by what this worker knew, because the bucket did not answer.",
)
EAGER_TURNS = Counter(
    "hushgate_eager_turns_total",
    "Turns that had probably ended: kept, taken back as the caller spoke on, or refused, with no answer ahead.",
    ["outcome"],
)
announce(EAGER_TURNS, get_args(EagerOutcome))
TAKEN_BACK = Counter(
    "hushgate_turns_taken_back_total",
    "Answers that were requested before a turn's end and never heard, as the caller spoke on.",
    ["provider"],
)
EAGER_LIMITED = Counter(
    "hushgate_eager_limited_total",
    "Times that a call's answers were requested later, or only at a turn's end, as those taken back cost too much.",
    ["limit"],
)
announce(EAGER_LIMITED, get_args(EagerLimit))
TRANSCRIPTS = Counter(
    "hushgate_turn_transcripts_total",
    "Transcripts of callers' turns, by what they have: words, or nothing, as when noise opened the gate.",
    ["content"],
)
announce(TRANSCRIPTS, ("words", "nothing"))
STAGE_DURATION = Histogram(
    "hushgate_turn_stage_duration_seconds",
    "Parts of a turn, from the end of the utterance as received by the worker.",
    ["stage"],
    buckets=(0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 5, 10),
)
LEASES_LOST = Counter("hushgate_leases_lost_total", "Leases that could not be renewed in time, by reason.", ["reason"])
announce(STAGE_DURATION, get_args(TurnStage))
announce(LEASES_LOST, ("taken", "unreachable"))
ENDED = Counter("hushgate_upstream_calls_ended_total", "Calls that this worker owned and that ended.", ["reason"])
USAGE_LATE = Counter(
    "hushgate_upstream_usage_late_total", "Responses that were reported to media before their usage was on the disk."
)
USAGE_FAILED = Counter(
    "hushgate_upstream_usage_write_failed_total", "Usage events that could not be written to the outbox."
)
