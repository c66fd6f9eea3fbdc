"""Changes to an answer's SDP before it is applied."""


def at_address(sdp: str, address: str) -> str:
    """Return ``sdp`` with ``address`` in every candidate; ports are unchanged.

    A test within a cluster reaches the ports that the cluster exposes, but not at their external address.
    """
    return "\r\n".join(_moved(line, address) if line.startswith("a=candidate:") else line for line in sdp.split("\r\n"))


def _moved(candidate: str, address: str) -> str:
    # RFC 8839: foundation, component, transport, priority, address, port, …
    parts = candidate.split(" ")
    return " ".join([*parts[:4], address, *parts[5:]])
