"""Specs and jobs between protobuf and plain values. The only place where the two meet."""

from __future__ import annotations

from typing import Any

from google.protobuf import unknown_fields
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from unitscope.errors import InvalidArgumentError
from unitscope.jobs.specs import AnySpec, kind_of, parse_spec
from unitscope.v1 import analysis_spec_pb2


def spec_from_proto(message: analysis_spec_pb2.AnalysisSpec) -> AnySpec:
    """The validated spec of a message.

    Raises:
        InvalidArgumentError: No kind is set, the message carries unknown fields (UNKNOWN_FIELD), or
            the spec is invalid.
    """
    refuse_unknown_fields(message, "spec")
    kind = message.WhichOneof("kind")
    if kind is None:
        raise InvalidArgumentError(
            "the spec is empty; set one of its kinds, e.g. 'traverse'",
            reason="INVALID_SPEC",
            field="spec",
        )
    return parse_spec(kind, _plain(getattr(message, kind)))


def spec_to_proto(spec: AnySpec) -> analysis_spec_pb2.AnalysisSpec:
    """The spec as a message, defaults filled in."""
    message = analysis_spec_pb2.AnalysisSpec()
    kind = kind_of(spec)
    getattr(message, kind).SetInParent()
    _fill(getattr(message, kind), spec.model_dump())
    return message


def refuse_unknown_fields(message: Message, path: str) -> None:
    """Raises InvalidArgumentError where a message, at any depth, brings fields that its type lacks."""
    unknown = unknown_fields.UnknownFieldSet(message)
    if len(unknown):
        number = unknown[0].field_number
        raise InvalidArgumentError(
            f"{path} has no field number {number}; the client was made for another version: "
            "use the protos of this server",
            reason="UNKNOWN_FIELD",
            field=path,
            number=number,
        )
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for item in value if field.is_repeated else (value,):
                refuse_unknown_fields(item, f"{path}.{field.name}")


def enum_prefix(field: Any) -> str:
    """The prefix of an enum's values, e.g. ``ACCEPT_``."""
    name: str = _enum(field).values_by_number[0].name
    return name.removesuffix("UNSPECIFIED")


def _enum(field: Any) -> Any:
    return field.enum_type


def _plain(message: Message) -> dict[str, Any]:
    """Set fields as plain values; unset and unspecified ones are left to the defaults."""
    values: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            values[field.name] = [_plain(v) for v in value] if field.is_repeated else _plain(value)
        elif field.type == FieldDescriptor.TYPE_ENUM:
            known = _enum(field).values_by_number.get(value)
            name = known.name if known else f"{enum_prefix(field)}{value}"
            values[field.name] = name.removeprefix(enum_prefix(field)).lower()
        else:
            values[field.name] = list(value) if field.is_repeated else value
    return values


def _fill(message: Message, values: dict[str, Any]) -> None:
    for field in message.DESCRIPTOR.fields:
        value = values.get(field.name)
        if value is None:
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE and field.is_repeated:
            for item in value:
                _fill(getattr(message, field.name).add(), item)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(message, field.name).SetInParent()
            _fill(getattr(message, field.name), value)
        elif field.type == FieldDescriptor.TYPE_ENUM:
            name = enum_prefix(field) + value.upper()
            setattr(message, field.name, _enum(field).values_by_name[name].number)
        elif field.is_repeated:
            getattr(message, field.name).extend(value)
        else:
            setattr(message, field.name, value)
