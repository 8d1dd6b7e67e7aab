"""Options as a message: every field travels, and what says nothing is not said."""

from __future__ import annotations

from google.protobuf.message import Message

from tests.kit.options import fullest
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.api.options_message import options_message as write
from websocketmanager.api.translate_options import connection_options as read
from websocketmanager.domain.model import ConnectionOptions


def test_every_field_of_every_message_travels() -> None:
    message = write(fullest())
    assert read(message) == (fullest(), [])
    seen: dict[str, set[str]] = {}
    waiting: list[Message] = [message]
    while waiting:
        one = waiting.pop()
        fields = seen.setdefault(one.DESCRIPTOR.name, set())
        for field, value in one.ListFields():
            fields.add(field.name)
            if field.message_type is not None:
                waiting += [value] if isinstance(value, Message) else value
    for name, fields in seen.items():
        descriptor = pb.DESCRIPTOR.message_types_by_name[name]
        assert fields == {field.name for field in descriptor.fields}, name
    assert len(seen) == 17


def test_defaults_are_left_out() -> None:
    assert {field.name for field, _ in write(ConnectionOptions()).ListFields()} == {
        "reconnect",
        "format",
        "buffer",
    }
