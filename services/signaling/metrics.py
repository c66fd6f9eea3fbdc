"""Metrics of signaling. `/metrics` is on the public listener, so no label may name a tenant or a call."""

from itertools import product
from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from services.contracts.messages import OfferRefusal
from services.runtime.telemetry.metrics import announce
from services.signaling.core.limits import Limited
from services.signaling.core.placement import NoPlacement
from services.signaling.core.token import Rejection

REQUESTS = Counter("hushgate_requests_total", "HTTP requests, by route template and status.", ["route", "code"])
OFFER_ROUTES = ("/v1/realtime/calls", "/v1/whip")
announce(REQUESTS, product(OFFER_ROUTES, ("201", "500", "503")))
REQUEST_SECONDS = Histogram(
    "hushgate_request_duration_seconds",
    "Time from the first byte of a request to the end of its answer.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
TOKENS_ISSUED = Counter("hushgate_tokens_issued_total", "Ephemeral tokens minted.")
TOKENS_REJECTED = Counter(
    "hushgate_tokens_rejected_total", "Keys and ephemeral tokens that were refused, by reason.", ["reason"]
)
announce(TOKENS_REJECTED, ("missing", "key", *Rejection))
LIMITED = Counter(
    "hushgate_requests_limited_total",
    "Requests refused by a rate or size limit, by limit.",
    ["limit"],
)
announce(LIMITED, Limited)
TOKENS_RELEASED = Counter(
    "hushgate_tokens_released_total", "Redeemed tokens released because no answer was produced.", ["result"]
)
ACCESS_DROPPED = Counter(
    "hushgate_access_records_dropped_total",
    "Records of calls that were deleted before they expired, because their tenant has its share of the bucket.",
)
PLACEMENTS_FAILED = Counter("hushgate_placements_failed_total", "Offers that were not placed, by reason.", ["reason"])
_NOT_ANSWERED = ("no_responders", "timeout", "malformed", *get_args(OfferRefusal))
announce(PLACEMENTS_FAILED, (*NoPlacement, *_NOT_ANSWERED))
PLACEMENT_ATTEMPTS = Counter(
    "hushgate_placement_attempts_total", "Media processes asked to answer an offer, by outcome.", ["outcome"]
)
announce(PLACEMENT_ATTEMPTS, ("answered", *_NOT_ANSWERED))
RESTARTS = Counter("hushgate_ice_restarts_total", "New offers of clients on their own calls, by outcome.", ["outcome"])
HEARTBEATS_MALFORMED = Counter("hushgate_heartbeats_malformed_total", "Heartbeats that could not be read.")
MEDIA_PROCESSES = Gauge("hushgate_media_processes", "Media processes with a heartbeat within the last five seconds.")
TENANTS = Gauge("hushgate_tenants", "Tenants in the tenants file that is in force.")
TENANTS_RELOADS = Counter(
    "hushgate_tenants_file_reloads_total", "Times that a changed tenants file was read, by result.", ["result"]
)
METERING_ERRORS = Counter("hushgate_metering_errors_total", "Usage queries that metering did not answer.", ["reason"])
TURN_CREDENTIALS = Counter(
    "hushgate_turn_credentials_total", "Times that credentials for TURN servers were handed out."
)
TURN_SECRET_ERRORS = Counter(
    "hushgate_turn_secret_errors_total",
    "Times that the file with the TURN servers' secret could not be used, so that the last valid one stays in use.",
)
