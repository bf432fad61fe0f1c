"""Queues in a folder, for the processes of one machine: kombu's filesystem transport without its races.

kombu writes a message under its final name, where a worker may take it before it is whole: the message is
lost, and the worker dies of it. Its tables of exchanges are rewritten in place likewise. Here a message
appears whole, one worker takes it, and there are no tables: each queue is bound to the exchange of its name.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

log = logging.getLogger(__name__)


class Channel(filesystem.Channel):
    """A channel whose queue is the files ``<time>_<uuid>.<queue>.msg`` of a folder, oldest first."""

    def get_table(self, exchange: str) -> list[filesystem.exchange_queue_t]:
        """The one queue of an exchange, as kombu wants it: routing key, pattern, queue."""
        return [filesystem.exchange_queue_t(exchange, "", exchange)]

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        if not exchange == routing_key == queue:
            raise ChannelError(f"queue {queue!r} cannot be bound to exchange {exchange!r} in a folder")

    def _put(self, queue: str, payload: dict[str, Any], **_: Any) -> None:
        path = Path(self.data_folder_out, f"{time.time_ns():020d}_{uuid.uuid4()}.{queue}.msg")
        partial = path.with_suffix(".partial")
        try:
            partial.write_text(dumps(payload), "utf-8")
            partial.rename(path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink()
            raise ChannelError(f"{path} cannot be written ({error.strerror})") from error

    def _get(self, queue: str) -> dict[str, Any]:
        folder = Path(self.data_folder_in)
        for name in sorted(os.listdir(folder)):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = folder / f"{name}.taken"
            try:
                (folder / name).rename(taken)
            except FileNotFoundError:
                continue  # Another worker has taken it.
            text = taken.read_text("utf-8", "replace")
            taken.unlink()
            try:
                payload: dict[str, Any] = loads(text)
            except ValueError as error:
                log.warning("dropped %s, which is no message: %s", folder / name, error)
                continue
            return payload
        raise Empty


class Transport(filesystem.Transport):
    """Queues in a folder; see the module."""

    Channel = Channel
