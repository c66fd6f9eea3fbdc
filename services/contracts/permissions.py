"""Permissions of each process on the bus: its own subjects, its own inbox, the JetStream calls that it makes.

`hushgate up` writes this into its server's configuration; the chart's templates write the same, and
tests/helm/test_nats.py compares the two.
"""

from dataclasses import dataclass

from pydantic import JsonValue

from services.contracts import subjects
from services.contracts.subjects import ServiceRole

_USAGE, _CALLS, _PLACED = subjects.USAGE_STREAM, subjects.CALLS_STREAM, subjects.PLACED_STREAM
_ANSWER: JsonValue = {"max": 1, "expires": "1m"}
"""Replies may be sent to the requester only, one for each request."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects of one user. A subscription with a queue is written `subject queue`, as nats-server does."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: bool = False

    def config(self) -> dict[str, JsonValue]:
        """Return the permissions in the form of nats-server's configuration."""
        content: dict[str, JsonValue] = {"publish": list(self.publish), "subscribe": list(self.subscribe)}
        return {**content, "allow_responses": _ANSWER} if self.answers else content


def inbox_prefix(user: str) -> str:
    """Return the inbox prefix of a user, under which it receives replies."""
    return f"_INBOX_{user}"


def permissions(role: ServiceRole, process: str) -> Permissions:
    """Return what a process of ``role`` may publish and subscribe to. Its user has the same name."""
    publish, subscribe, answers = _ROLES[role](process)
    return Permissions(("$JS.API.INFO", *publish), (f"{inbox_prefix(process)}.>", *subscribe), answers)


_Lists = tuple[tuple[str, ...], tuple[str, ...], bool]


def _signaling(_process: str) -> _Lists:
    publish = (
        "hg.media.*.offer",
        "hg.media.*.keys_checked",
        "hg.call.*.*.control",
        subjects.PLACED,
        *_bucket(subjects.GRANTS_BUCKET),
        *_bucket(subjects.ACCESS_BUCKET),
    )
    return publish, (subjects.HEARTBEATS, subjects.KEY_CHECKS), False


def _media(process: str) -> _Lists:
    publish = (
        f"hg.media.{process}.heartbeat",
        f"hg.media.{process}.keys",
        f"hg.claim.{process}",
        f"hg.up.*.{process}.*",
        f"hg.usage.media.{process}.*",
        f"hg.calls.{process}.started",
        f"hg.calls.{process}.ended",
        f"$JS.API.STREAM.INFO.{_USAGE}",
    )
    subscribe = (
        f"hg.media.{process}.offer",
        f"hg.media.{process}.keys_checked",
        f"hg.call.{process}.*.control",
        f"hg.down.{process}.*.*",
        f"hg.watermark.{process}.*",
    )
    return publish, subscribe, True


def _upstream(process: str) -> _Lists:
    publish = (
        f"hg.down.*.{process}.*",
        f"hg.usage.upstream.{process}.*",
        f"$JS.API.STREAM.INFO.{_USAGE}",
        *_bucket(subjects.LEASES_BUCKET),
        *_bucket(subjects.RATES_BUCKET),
    )
    queue = f"{subjects.CLAIMS} {subjects.UPSTREAM_QUEUE}"
    return publish, (queue, f"hg.up.{process}.*.*", f"hg.watermark.{process}.*"), True


def _metering(_process: str) -> _Lists:
    streams = tuple(subject for stream in (_USAGE, _CALLS, _PLACED) for subject in _reader(stream))
    return ("hg.watermark.*.*", *streams), (), False


def _bucket(name: str) -> tuple[str, ...]:
    stream = f"KV_{name}"
    verbs = ("INFO", "CREATE", "UPDATE", "MSG.GET")
    return (*(f"$JS.API.STREAM.{verb}.{stream}" for verb in verbs), f"$JS.API.DIRECT.GET.{stream}.>", f"$KV.{name}.>")


def _reader(stream: str) -> tuple[str, ...]:
    """The JetStream calls for reading a stream. Metering alone creates those; it removes messages only by ack."""
    made = tuple(f"$JS.API.STREAM.{verb}.{stream}" for verb in ("INFO", "CREATE", "UPDATE"))
    consumer = f"{stream}.metering"
    return (
        *made,
        f"$JS.API.CONSUMER.CREATE.{consumer}.>",
        f"$JS.API.CONSUMER.DURABLE.CREATE.{consumer}",
        f"$JS.API.CONSUMER.INFO.{consumer}",
        f"$JS.API.CONSUMER.DELETE.{consumer}",
        f"$JS.API.CONSUMER.MSG.NEXT.{consumer}",
        f"$JS.ACK.{consumer}.>",
    )


_ROLES = {"signaling": _signaling, "media": _media, "upstream": _upstream, "metering": _metering}
