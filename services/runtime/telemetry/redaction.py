"""Removes keys and control characters from external text before it is logged, printed or sent to clients."""

import base64
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, unquote, urlsplit

REDACTED = "[redacted]"
MIN_SECRET_CHARS = 6
"""A shorter secret would match ordinary words too often."""

# No alternative can backtrack over more than 200 characters: hostile text costs time in proportion to its length.
_KEYS = re.compile(
    r"\b(?:sk|ek|hg|gsk|xai|hf|pplx)[-_][A-Za-z0-9_*.-]{12,}"  # ours, and those of providers that mark theirs
    r"|\bAIza[A-Za-z0-9_-]{20,}"  # Google
    r"|\bA[KS]IA[A-Z0-9]{12,}"  # AWS
    r"|\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_.-]+"  # a JSON Web Token, as Entra's
    r"|\b(?:Bearer|Basic)\s+[A-Za-z0-9+/=_.~*-]+"
    r"|(?<=://)[^/\s:@]*:[^/\s@]*(?=@)"  # user and password in a URL
    r"|a=ice-pwd:\S+"
    r"|[A-Za-z0-9_+/=.-]{0,200}\*{3,}[A-Za-z0-9_+/=.*-]{0,200}"  # a key that the provider shows in part
    r"|(?:api[-_ ]?key|access[-_ ]?token|client[-_ ]?secret|password|authorization)[\"']?\s{0,8}[:=]\s{0,8}[\"']?"
    r"(?:(?:Bearer|Basic)\s+)?[^\s\"',;&}]+",
    re.IGNORECASE,
)
# C0 and C1 controls, DEL, separators of lines, marks that change the direction of text, and lone surrogates.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_SECRET_PARAMETER = re.compile(r"(?:key|token|secret|password|sig|signature|auth)\Z", re.IGNORECASE)
_NAMED = {"\r": "\\r", "\n": "\\n", "\t": "\\t"}
_ONE_BYTE = 0xFF


def escape_controls(text: str, *, keep: str = "") -> str:
    """Return ``text`` with control characters written as escapes, except those in ``keep``.

    A terminal that prints it changes no colour, title, cursor or clipboard, and the text cannot begin a second line.
    """

    def escaped(found: re.Match[str]) -> str:
        character = found[0]
        if character in keep:
            return character
        code = ord(character)
        return _NAMED.get(character) or (f"\\x{code:02x}" if code <= _ONE_BYTE else f"\\u{code:04x}")

    return _CONTROLS.sub(escaped, text)


def secrets_in_url(url: str) -> set[str]:
    """Return the password of ``url`` and the values of its query that are keys by their name, as `api-key`."""
    parts = urlsplit(url)
    keys = {value for name, value in parse_qsl(parts.query) if _SECRET_PARAMETER.search(name)}
    return {unquote(parts.password or ""), *keys}


class Redactor:
    """Replaces ``secrets``, in the forms in which they are quoted (plain, URL-encoded, base64), and forms of keys."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms: set[str] = set()
        for secret in secrets:
            if len(secret) >= MIN_SECRET_CHARS:
                forms |= {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}
        # The longest first: one secret may begin like another.
        known = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
        self._known = re.compile(known) if known else None

    def known(self, text: str) -> str:
        """Return ``text`` without the known secrets."""
        return self._known.sub(REDACTED, text) if self._known else text

    def text(self, text: str) -> str:
        """Return ``text`` without the known secrets and without what has the form of a key or a password."""
        return _KEYS.sub(REDACTED, self.known(text))

    def line(self, text: str, *, keep: str = "") -> str:
        """Return what `text` does, fit for a terminal: see `escape_controls`."""
        return escape_controls(self.text(text), keep=keep)
