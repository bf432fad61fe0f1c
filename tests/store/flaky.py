"""A wire to a server that loses answers, as networks do: the request arrives, the answer does not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Lose = Callable[[bytes], bool]
"""Whether the answer to a request that begins like that is lost."""


@contextmanager
def losing_answers(endpoint: str, lose: Lose) -> Iterator[str]:
    """A proxy before the server; yields its address.

    The server's first bytes to such a request are awaited, so that it has been carried out, and thrown
    away together with the connection.
    """
    host, port = endpoint.split(":")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as server, suppress(OSError):
            client.settimeout(0.2)
            server.settimeout(0.02)
            lost = False
            while True:
                with suppress(TimeoutError):
                    data = client.recv(1 << 20)
                    if not data:
                        return
                    lost = lost or lose(data)
                    server.settimeout(120)
                    server.sendall(data)
                    server.settimeout(0.02)
                with suppress(TimeoutError):
                    while answer := server.recv(1 << 20):
                        if lost and not answer.startswith(b"HTTP/1.1 100"):
                            return
                        client.settimeout(120)
                        client.sendall(answer)
                        client.settimeout(0.2)
                    return

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
