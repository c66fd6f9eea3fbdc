"""The addresses of this machine as the kernel lists them, and notification of changes."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ifaddr

from services.media.core.network.addresses import Present

_SETTLED_S = 0.2
"""Debounce: an interface that comes up gets its addresses one by one."""
_GROUPS = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of linux/rtnetlink.h
_READ_BYTES = 65_536
_OUTSIDE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # for documentation: RFC 5737, RFC 3849


def present() -> tuple[Present, ...]:
    """Return all addresses of all interfaces."""
    default = set(_sources())
    found = [
        (adapter.name, ip.ip if isinstance(ip.ip, str) else ip.ip[0])
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]
    return tuple(Present(name, host, default=host in default) for name, host in found)


@contextmanager
def watch(changed: Callable[[], None]) -> Iterator[None]:
    """Call ``changed`` shortly after an address was added or removed, while the block lasts. Linux only."""
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    except (AttributeError, OSError):  # not Linux, or forbidden by a sandbox
        yield
        return
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def readable() -> None:
        nonlocal timer
        with contextlib.suppress(OSError):  # all was read, or the kernel's buffer overflowed: a change either way
            while sock.recv(_READ_BYTES):
                pass
        if timer is not None:
            timer.cancel()
        timer = loop.call_later(_SETTLED_S, changed)

    with sock:
        sock.bind((0, _GROUPS))
        loop.add_reader(sock, readable)
        try:
            yield
        finally:
            loop.remove_reader(sock)
            if timer is not None:
                timer.cancel()


def _sources() -> Iterator[str]:
    """Source addresses of packets to the internet: connecting a UDP socket sends nothing and selects the route."""
    for family, host in _OUTSIDE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            yield str(probe.getsockname()[0])
