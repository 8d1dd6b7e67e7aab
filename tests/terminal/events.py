"""Events as subscribers get them, for the tests of this folder."""

from __future__ import annotations

import json
from typing import Any

from websocketmanager.domain.envelope import (
    LIFECYCLE_TOPIC,
    LIFECYCLE_TYPE_PREFIX,
    MESSAGE_TYPE,
    STREAM_TYPE_PREFIX,
)
from websocketmanager.terminal.received import Received

TIME = "2026-01-02T03:04:05.678901Z"


def message(
    sequence: int,
    *,
    session: int = 1,
    data: bytes = b"hi",
    content_type: str = "text/plain",
    connection_id: str = "c1",
) -> Received:
    metadata = {
        "ce-id": f"{connection_id}/1/{session}/{sequence}",
        "ce-type": MESSAGE_TYPE,
        "ce-time": TIME,
        "ce-datacontenttype": content_type,
        "ce-websocketid": connection_id,
        "ce-session": str(session),
        "ce-sequence": f"{sequence:020d}",
    }
    return Received("a.b", data, metadata, "m", TIME)


def marker(word: str, *, session: int = 1, connection_id: str = "c1") -> Received:
    metadata = {
        "ce-id": f"{connection_id}/1/{session}/0/{word}",
        "ce-type": STREAM_TYPE_PREFIX + word,
        "ce-time": TIME,
        "ce-datacontenttype": "application/json",
        "ce-websocketid": connection_id,
        "ce-session": str(session),
    }
    return Received("a.b", b'{"cause":"peer_closed"}', metadata, "m", TIME)


def lifecycle(state: str, number: int, *, connection_id: str = "c1", **members: Any) -> Received:
    metadata = {
        "ce-id": f"{connection_id}/1/event/{number}",
        "ce-type": LIFECYCLE_TYPE_PREFIX + state,
        "ce-time": TIME,
        "ce-datacontenttype": "application/json",
        "ce-subject": f"connection/{connection_id}",
    }
    return Received(LIFECYCLE_TOPIC, json.dumps(members).encode(), metadata, "m", TIME)
