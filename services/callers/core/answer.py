"""Changes to an answer's SDP before it is used."""


def at_address(sdp: str, address: str) -> str:
    """``sdp`` with ``address`` as that of every candidate; their ports stay.

    A test within a cluster reaches the ports that the cluster shows outside, but not at the outside's address.
    """
    return "\r\n".join(_moved(line, address) if line.startswith("a=candidate:") else line for line in sdp.split("\r\n"))


def _moved(candidate: str, address: str) -> str:
    # RFC 8839: foundation, component, transport, priority, address, port, …
    parts = candidate.split(" ")
    return " ".join([*parts[:4], address, *parts[5:]])
