"""Checks of certificate, microphone permission and provider key."""

import re
import ssl
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from cryptography import x509
from pydantic import SecretStr

from services.doctor.finding import Finding, fail, ok, warn
from services.runtime import clock
from services.up.options import is_loopback

SOON = timedelta(days=14)
_TIMEOUT_S = 5.0
_SHORTEST_KEY = 20
_HTTP_REFUSED = (401, 403)
_OK = 200


def check_microphone(host: str, *, tls: bool) -> Finding:
    """Check whether browsers allow a page at ``host`` to use the microphone (secure context)."""
    if tls or is_loopback(host):
        return ok("microphone", f"{'https' if tls else host} is a secure context: browsers ask for the microphone")
    return fail(
        "microphone",
        f"browsers give no microphone to plain http at {host}",
        "serve https (--tls-cert, --tls-key), or open the page by localhost through `ssh -L 8080:127.0.0.1:8080`",
    )


def check_certificate(cert: Path | None, key: Path | None, host: str) -> Finding:
    """Check the certificate's files: readable, matching key, valid now, issued for ``host``."""
    if cert is None or key is None:
        return (
            ok("tls", "none is used: the page is on loopback")
            if is_loopback(host)
            else fail("tls", f"--host {host} has no certificate", "give --tls-cert and --tls-key")
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_password)
        leaf = x509.load_pem_x509_certificates(cert.read_bytes())[0]
    except ssl.SSLError as exc:
        found = f"{cert} and {key} cannot be used together ({exc.reason or exc})"
        return fail("tls", found, "give the certificate chain and its own unencrypted key, both in PEM")
    except (OSError, ValueError) as exc:
        return fail("tls", f"{cert} or {key} cannot be read: {exc}", "give readable PEM files")
    return _validity(leaf, str(cert)) or _names(leaf, str(cert), host)


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _validity(leaf: x509.Certificate, what: str) -> Finding | None:
    now, until = clock.utc_now(), leaf.not_valid_after_utc
    if now < leaf.not_valid_before_utc:
        return fail(
            "tls", f"{what} is valid only from {leaf.not_valid_before_utc:%Y-%m-%d}", "correct the clock, or wait"
        )
    if now >= until:
        return fail("tls", f"{what} expired on {until:%Y-%m-%d}", "renew it")
    if until - now < SOON:
        return warn("tls", f"{what} expires on {until:%Y-%m-%d %H:%M} UTC", "renew it")
    return None


def _names(leaf: x509.Certificate, what: str, host: str) -> Finding:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return fail("tls", f"{what} names no host (no subjectAltName): browsers reject it", "make one that does")
    hosts = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    try:
        unspecified = ip_address(host).is_unspecified
    except ValueError:
        unspecified = False
    if not unspecified and not any(_matches(host, name) for name in hosts):
        found = f"{what} is for {', '.join(hosts)}, not for {host}"
        return fail("tls", found, "get one for this host, or open the page by a name that it has")
    return ok("tls", f"{what} is for {', '.join(hosts)}, until {leaf.not_valid_after_utc:%Y-%m-%d}")


def _matches(host: str, name: str) -> bool:
    if name.startswith("*."):
        return host.partition(".")[2].lower() == name[2:].lower()
    return host.lower() == name.lower()


async def check_key(key: SecretStr, upstream: str | None) -> Finding:
    """Check whether the provider accepts the key, by listing models, which is free. The key is never printed."""
    secret = key.get_secret_value()
    if not secret or upstream is None:
        return ok("key", "OPENAI_API_KEY is not set: the rehearsal answers, and costs nothing")
    if not re.fullmatch(r"[!#-&(-~]+", secret):
        found = "OPENAI_API_KEY holds spaces, quotes or other characters that no key has"
        return fail("key", found, "set it again, without quotes and line ends")
    if len(secret) < _SHORTEST_KEY:
        return fail("key", f"OPENAI_API_KEY has {len(secret)} characters: too few for a key", "copy the whole key")
    parts = urlsplit(upstream)
    url = f"{parts.scheme.replace('ws', 'http')}://{parts.netloc}/v1/models"
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S) as http:
            response = await http.get(url, headers={"Authorization": f"Bearer {secret}"})
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        found = f"{parts.hostname} did not answer within {_TIMEOUT_S:g} s ({type(exc).__name__})"
        return fail("key", found, "is there a way to the provider: DNS, firewall, HTTPS_PROXY?")
    return _key_finding(str(parts.hostname), response.status_code)


def _key_finding(provider: str, status: int) -> Finding:
    if status in _HTTP_REFUSED:
        found = f"{provider} refuses the key with {status}"
        return fail("key", found, "make a new key at the provider, or give it the right to use models")
    if status != _OK:
        found = f"{provider} answers {status} to the list of models: the key was not judged"
        return warn("key", found, "make a call: hushgate call")
    return ok("key", f"{provider} accepts the key")
