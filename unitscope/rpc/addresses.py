"""What an address says about who can reach it."""

from __future__ import annotations

import ipaddress

_SCHEMES = ("dns:///", "dns:", "ipv4:", "ipv6:")


def is_loopback(address: str) -> bool:
    """Whether the address, ``host:port`` or a target of gRPC, surely stays on this machine.

    A name other than ``localhost`` is not looked up: what it means may change.
    """
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    for scheme in _SCHEMES:
        if address.startswith(scheme):
            address = address.removeprefix(scheme)
            break
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
