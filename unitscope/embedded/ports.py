"""Ports on loopback for servers that are started a moment later."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from pathlib import Path

LOWEST = 10_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_DYNAMIC = 32_768


def free_ports(count: int) -> list[int]:
    """Distinct ports that nobody uses now and that no connection takes meanwhile.

    The operating system gives outgoing connections, and servers that ask for any port, one of its dynamic
    ports (32768 and up on Linux). A port of those can be gone again before its server listens or while the
    server is restarted, so these lie below
    (on a machine where the dynamic ones begin lower than 11000: below 32768).
    """
    return [int(item) for item in _held(() for _ in range(count))]


def free_or_wanted(wanted: Iterable[int]) -> list[int]:
    """The wanted ports where they are free, and others, as of :func:`free_ports`, where they are not."""
    return _held((port,) for port in wanted)


def _held(wishes: Iterable[tuple[int, ...]]) -> list[int]:
    """One port per wish; all are held until all are found, so that none comes twice."""
    held: list[socket.socket] = []
    try:
        for wish in wishes:
            held.append(_bound(wish))
        return [int(item.getsockname()[1]) for item in held]
    finally:
        for item in held:
            item.close()


def _bound(wish: tuple[int, ...]) -> socket.socket:
    lowest, beyond = LOWEST, _lowest_dynamic()
    start = random.randrange(lowest, beyond)
    for port in (*wish, *range(start, beyond), *range(lowest, start)):
        item = socket.socket()
        # As servers do: a port on which only old connections linger counts as free.
        item.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            item.bind(("127.0.0.1", port))
            item.listen(1)  # Else, with that option, another socket could be bound here as well.
        except OSError:
            item.close()
        else:
            return item
    raise OSError(f"no free port on 127.0.0.1 between {lowest} and {beyond - 1}")


def _lowest_dynamic() -> int:
    """Where the dynamic ports begin on this machine."""
    try:
        first = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _DYNAMIC
    return first if first > LOWEST + 1000 else _DYNAMIC
