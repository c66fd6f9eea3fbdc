"""A trace collector that receives OTLP over HTTP and decodes it."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass(frozen=True)
class ReceivedSpanEvent:
    """An event of a span."""

    name: str
    at_ns: int
    attributes: Mapping[str, object]


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it was received. Times are unix nanoseconds."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: Mapping[str, object]
    events: tuple[ReceivedSpanEvent, ...]
    failed: bool

    @property
    def ms(self) -> float:
        return (self.end_ns - self.start_ns) / 1e6


@dataclass
class Collector:
    """What has been received so far."""

    url: str
    spans: list[ReceivedSpan] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    resources: list[dict[str, object]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    status: HTTPStatus = HTTPStatus.OK
    holds: threading.Event | None = None
    """Set to let it reply; None: it replies at once."""
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, enough: Callable[[Sequence[ReceivedSpan]], bool], *, timeout_s: float = 20.0) -> list[ReceivedSpan]:
        """Wait until the spans are ``enough``; return them.

        Raises:
            TimeoutError: they are not enough in time; the message lists them.
        """
        with self.changed:
            if not self.changed.wait_for(lambda: enough(self.spans), timeout_s):
                raise TimeoutError(f"only {[(span.service, span.name) for span in self.spans]}")
            return list(self.spans)

    def receive(self, path: str, headers: dict[str, str], body: bytes) -> HTTPStatus:
        if self.holds is not None:
            self.holds.wait(30)
        if path != "/v1/traces" or headers.get("content-type") != "application/x-protobuf":
            return HTTPStatus.NOT_FOUND
        request = ExportTraceServiceRequest.FromString(body)
        with self.changed:
            self.headers.append(headers)
            self.bodies.append(body)
            if self.status is HTTPStatus.OK:
                for of_resource in request.resource_spans:
                    resource = _attributes(of_resource.resource.attributes)
                    self.resources.append(resource)
                    for scope in of_resource.scope_spans:
                        self.spans += [_received_span(str(resource["service.name"]), span) for span in scope.spans]
            self.changed.notify_all()
        return self.status


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None


def _attributes(pairs: Sequence[KeyValue]) -> dict[str, object]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _received_span(service: str, span: Span) -> ReceivedSpan:
    return ReceivedSpan(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _attributes(span.attributes),
        tuple(
            ReceivedSpanEvent(event.name, event.time_unix_nano, _attributes(event.attributes)) for event in span.events
        ),
        span.status.code == Status.STATUS_CODE_ERROR,
    )


@contextmanager
def running_collector() -> Iterator[Collector]:
    """Run a collector on loopback, in its own threads."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            names = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(collector.receive(self.path, names, body))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass  # no log line per request

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        if collector.holds is not None:
            collector.holds.set()
        server.shutdown()
        server.server_close()
        thread.join()
