"""Ports for servers that start a moment later."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from unitscope.embedded import ports
from unitscope.embedded.home import Endpoints
from unitscope.embedded.ports import free_or_wanted, free_ports


def dynamic() -> range:
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    # Where almost all ports are dynamic, those of Linux' default are avoided.
    return range(lowest if lowest > 11_000 else 32_768, highest + 1)


def test_ports_are_distinct_free_and_none_that_a_connection_may_take() -> None:
    found = free_ports(200)
    assert len(set(found)) == 200
    assert not set(found) & set(dynamic())
    # Few, lest another run of the tests wants one of them at the same time.
    listeners = [socket.create_server(("127.0.0.1", port)) for port in found[:5]]
    for listener in listeners:
        listener.close()


def test_taken_ports_are_replaced_by_free_ones() -> None:
    # No dynamic port: any connection could take that one once it is free again.
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        (replaced,) = free_or_wanted([port])
        assert replaced != port
        assert replaced not in dynamic()
        chosen = Endpoints.allocate()
        assert len({getattr(chosen, name) for name in vars(chosen)}) == 6
    assert free_or_wanted([port]) == [port]


def test_a_machine_without_free_ports_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "LOWEST", port)
        monkeypatch.setattr(ports, "_lowest_dynamic", lambda: port + 1)
        with pytest.raises(OSError, match=f"no free port on 127.0.0.1 between {port} and {port}"):
            free_ports(1)


@pytest.mark.parametrize("text", ["", "what", "1024 65535"])
def test_without_a_usable_range_linux_default_holds(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "range").write_text(text)
    monkeypatch.setattr(ports, "_RANGE", tmp_path / "range")
    assert all(ports.LOWEST <= port < 32_768 for port in free_ports(20))
