"""Mutated requests over a real channel: made by seed, sent as bytes, judged by what comes back.

::

    target = Target(stub_channel, METHODS["unitscope.v1.LinkerService/Apply"], corpus, seed=1)
    report = fuzz(target, 1000)

A request is one of the corpus with a few fields changed by what their type allows, or with its bytes
changed. The server may refuse it however it likes, but by an error of ours: with a reason, and never INTERNAL.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

INTEGERS = (0, 1, -1, 2, 63, 100, 1000, 2**31 - 1, -(2**31), 2**31, 2**53, 2**63 - 1, -(2**63))
NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"), 2.0**53)
TEXTS = (
    "", " ", "a", "x" * 10_000, "../../etc/passwd", "/", ".", "..", "a/b/c", "%s%n{0}", "\x00", "\n", "ü", "\u202e",
    "\U0001f600", "job-" + "a" * 24, "0" * 64, "f" * 64, "[]", "{}", "null", "tiny/classifier", "NaN", "-1", "linker",
)  # fmt: skip
LIMITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
BAD_STATUSES = frozenset({"INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "UNAVAILABLE", "CANCELLED", "ABORTED"})
MOST_BYTES = 256 << 10


class Mutator:
    """Changes messages and bytes, always alike for one seed."""

    def __init__(self, seed: int | str, words: Sequence[str] = ()) -> None:
        self.random = random.Random(seed)
        self.words = words or TEXTS

    def request(self, seeds: Sequence[Message]) -> bytes:
        """One mutated message, as bytes."""
        message = type(seeds[0])()
        message.CopyFrom(self.random.choice(seeds))
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 3))):
            self.change(message)
        data = message.SerializeToString()
        if self.random.random() < 0.15:
            data = self.spoil(data)
        return data

    def change(self, message: Message) -> None:
        """Changes one field somewhere in the message."""
        fields = list(message.DESCRIPTOR.fields)
        if not fields:
            return
        chosen = self.random.choice(fields)
        value = getattr(message, chosen.name)
        if chosen.is_repeated:
            self._repeat(message, chosen, value)
        elif chosen.type == FieldDescriptor.TYPE_MESSAGE:
            if self.random.random() < 0.15:
                message.ClearField(chosen.name)
            else:
                value.SetInParent()
                self.change(value)
        else:
            setattr(message, chosen.name, self.scalar(chosen, value))

    def scalar(self, kind: FieldDescriptor, old: Any) -> Any:
        """Another value for a field of that kind."""
        pick = self.random
        if kind.type == FieldDescriptor.TYPE_BYTES:
            return self.spoil(old)
        if kind.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            if pick.random() < 0.5:
                return pick.choice(self.words)
            return pick.choice((*TEXTS, old[: len(old) // 2], old + "x", old[::-1]))
        if kind.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return not old
        if kind.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
            return pick.choice((*NUMBERS, -old, old * 2))
        if kind.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
            return pick.choice((0, 1, 2, 3, 77, -1))
        least, most = LIMITS[kind.cpp_type]
        return min(most, max(least, pick.choice((*INTEGERS, old + 1, old - 1, pick.randint(-5, 5)))))

    def spoil(self, data: bytes) -> bytes:
        """The bytes with something cut, doubled, turned or put in."""
        pick = self.random
        at = pick.randint(0, len(data))
        to = min(len(data), at + pick.choice((1, 2, 4, 16, 1000)))
        noise = pick.randbytes(pick.choice((1, 2, 8, 64)))
        cut = data[:at] + data[to:]
        put_in = data[:at] + noise + data[at:]
        over = data[:at] + noise + data[at + len(noise) :]
        return pick.choice((data[:at], cut, put_in, over, data[:to] + data[at:], b""))[:MOST_BYTES]

    def _repeat(self, message: Message, kind: FieldDescriptor, values: Any) -> None:
        pick = self.random.random()
        if pick < 0.15:
            message.ClearField(kind.name)
        elif kind.type == FieldDescriptor.TYPE_MESSAGE:
            if pick < 0.4 or not values:
                self.change(values.add())
            elif pick < 0.6:
                for _ in range(self.random.choice((1, 30, 300))):
                    values.add().CopyFrom(values[0])
            else:
                self.change(self.random.choice(values))
        elif pick < 0.4 and values:
            values.extend(list(values) * self.random.choice((1, 3, 50)))
        elif pick < 0.7 or not values:
            empty = b"" if kind.type == FieldDescriptor.TYPE_BYTES else kind.default_value
            values.append(
                self.scalar(kind, empty or ("" if kind.cpp_type == FieldDescriptor.CPPTYPE_STRING else 0))
            )
        else:
            index = self.random.randrange(len(values))
            values[index] = self.scalar(kind, values[index])


@dataclass(frozen=True)
class Target:
    """One method, and messages that it takes."""

    channel: grpc.Channel
    method: MethodDescriptor
    seeds: Sequence[Message]
    deadline: float = 60.0

    @property
    def name(self) -> str:
        return f"{self.method.containing_service.name}/{self.method.name}"

    def send(self, requests: list[bytes]) -> None:
        """Sends what was made; raises RpcError."""
        path = f"/{self.method.containing_service.full_name}/{self.method.name}"
        if self.method.client_streaming:
            self.channel.stream_unary(path)(iter(requests), timeout=self.deadline)
        elif self.method.server_streaming:
            for _ in self.channel.unary_stream(path)(requests[0], timeout=self.deadline):
                pass
        else:
            self.channel.unary_unary(path)(requests[0], timeout=self.deadline)


@dataclass
class Report:
    """What came back: statuses counted, and what should not have come."""

    sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


def fuzz(target: Target, count: int, seed: int = 0, threads: int = 4) -> Report:
    """Sends `count` mutated calls; streams of requests hold one to three messages."""
    report = Report()

    def one(requests: list[bytes]) -> tuple[list[bytes], grpc.RpcError | None]:
        try:
            target.send(requests)
        except grpc.RpcError as error:
            return requests, error
        return requests, None

    with ThreadPoolExecutor(threads) as pool:
        for requests, error in pool.map(one, _calls(target, count, seed)):
            report.sent += 1
            _judge(report, target, requests, error)
    return report


def _calls(target: Target, count: int, seed: int) -> Iterator[list[bytes]]:
    words = sorted({text for message in target.seeds for text in texts_of(message)})
    mutator = Mutator(f"{target.name}/{seed}", words)
    for _ in range(count):
        most = mutator.random.choice((1, 1, 2, 3)) if target.method.client_streaming else 1
        yield [mutator.request(target.seeds) for _ in range(most)]


def texts_of(message: Message) -> Iterator[str]:
    """All texts in a message: what is right in one place is plausible in another."""
    for kind, value in message.ListFields():
        for item in value if kind.is_repeated else (value,):
            if isinstance(item, str):
                yield item
            elif isinstance(item, Message):
                yield from texts_of(item)


def _judge(report: Report, target: Target, requests: list[bytes], error: grpc.RpcError | None) -> None:
    if error is None:
        report.statuses["OK"] += 1
        return
    code = error.code()
    status = code.name
    report.statuses[status] += 1
    watched = target.method.server_streaming and code is grpc.StatusCode.DEADLINE_EXCEEDED
    if watched:
        return
    reason = reason_of(error)
    report.reasons[reason or status] += 1
    if status in BAD_STATUSES or status == "DEADLINE_EXCEEDED" or not reason:
        shown = b" | ".join(requests)[:300]
        report.findings.append(f"{target.name}: {status} {reason} {error.details()[:200]!r} for {shown!r}")


def reason_of(error: grpc.RpcError) -> str:
    """The reason in the error's ErrorInfo; empty where it has none."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info):
            return str(info.reason)
    return ""
