"""Request heads that the parser accepts and we refuse, and the answers to requests that no application handles.

llhttp is strict about the bytes of a head. What is left is its meaning: where a body ends (RFC 9112 §6.3),
which host a request is for (RFC 9112 §3.2), and how large it may be.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

MAX_HEAD_BYTES = 32 * 1024
MAX_TARGET_BYTES = 8 * 1024
MAX_FIELDS = 100

_VERSIONS = frozenset({"1.0", "1.1"})
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?\Z")
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not passed to an application, and what its client receives."""

    reason: str
    """Label of the metric; a member of `metrics.HTTP_REFUSALS`."""
    status: int
    message: str

    def answer(self) -> bytes:
        """The whole HTTP response, in the API's error shape."""
        kind = "server_error" if self.status >= _SERVER_ERROR else "invalid_request_error"
        error = {"message": self.message, "type": kind, "code": self.reason, "param": None}
        body = json.dumps({"error": error}).encode()
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
            *(["Retry-After: 1"] if self.status == HTTPStatus.SERVICE_UNAVAILABLE else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body


def malformed(message: str) -> Refusal:
    """A refusal of bytes that are no HTTP request, or are ambiguous."""
    return Refusal("malformed", 400, message)


MALFORMED = malformed("This is no HTTP/1.1 request.")
HEAD_TOO_LARGE = Refusal("head_too_large", 431, f"A head may have {MAX_FIELDS} fields and {MAX_HEAD_BYTES} bytes.")
TARGET_TOO_LONG = Refusal("target_too_long", 414, f"A request target may have {MAX_TARGET_BYTES} bytes.")
HEAD_TIMEOUT = Refusal("head_timeout", 408, "The head of the request did not arrive in time.")
BODY_TIMEOUT = Refusal("body_timeout", 408, "The body did not arrive in time.")
SMALL_CHUNKS = Refusal("small_chunks", 400, "The body comes in too many small chunks. Send it in larger ones.")
PIPELINED = Refusal("pipelined", 400, "Too many requests were sent before an answer. Wait for answers.")
BUSY = Refusal("busy", 503, "The gateway handles as many requests as it can. Try again.")
ADDRESS_BUSY = Refusal("address_busy", 503, "Too many requests of your address are handled at once. Try again.")


def fault(fields: Sequence[tuple[bytes, bytes]], *, version: str, target: bytes) -> Refusal | None:
    """Check a head; returns its refusal or None. ``fields`` have lower-case names."""
    if version not in _VERSIONS:
        return Refusal("malformed", 505, "This server speaks HTTP/1.1.")
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    hosts = [value for name, value in fields if name == b"host"]
    if lengths and codings:
        return malformed("A request has Content-Length or Transfer-Encoding, never both.")
    if len(lengths) > 1 or not all(value.isdigit() for value in lengths):
        return malformed("Content-Length must be one decimal number.")
    if codings and (version != "1.1" or [coding.strip().lower() for coding in codings] != [b"chunked"]):
        return malformed("The one Transfer-Encoding of a request is chunked, in HTTP/1.1.")
    return _host_fault(hosts, version=version, target=target)


def _host_fault(hosts: Sequence[bytes], *, version: str, target: bytes) -> Refusal | None:
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        return malformed("A request has one Host.")
    host = hosts[0] if hosts else b""
    if host and not _HOST.match(host):
        return malformed("Host must be a name or an address, and a port if need be.")
    absolute = _ABSOLUTE.match(target)
    if absolute is not None and absolute[1].lower() != host.lower():
        return malformed("The request target names another host than Host does.")
    if b"#" in target or (absolute is None and not target.startswith(b"/")):
        return malformed("A request target is a path.")
    return None
