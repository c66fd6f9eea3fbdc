"""The few lines of SDP that are changed on the way in and out. Signaling has parsed and rewritten the offer before."""

_NO_CANDIDATES = ("a=candidate:", "a=end-of-candidates")
_WEAK_OR_LONG = ("a=fingerprint:sha-384", "a=fingerprint:sha-512")


def without_candidates(offer: str) -> str:
    """An offer that names no address to send to: peers are learnt from their own checks (peer-reflexive)."""
    return _without(offer, _NO_CANDIDATES)


def with_one_fingerprint(answer: str) -> str:
    """An answer with sha-256 only: some peers fail on several."""
    return _without(answer, _WEAK_OR_LONG)


def _without(sdp: str, prefixes: tuple[str, ...]) -> str:
    return "".join(line for line in sdp.splitlines(keepends=True) if not line.startswith(prefixes))
