"""Datagrams, ICE routes, DTLS and SCTP inspection, and rate limits."""
