"""One event as a subscriber gets it, read with forgiveness: publishers are not all ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from websocketmanager.domain.envelope import MESSAGE_TYPE, STREAM_TYPE_PREFIX


@dataclass(frozen=True, slots=True)
class Received:
    """One event of a subscription: exact bytes, and metadata with the prefix `ce-`."""

    topic: str
    data: bytes
    metadata: Mapping[str, str]
    message_id: str
    timestamp: str

    @property
    def id(self) -> str:
        """The CloudEvent's id, or the API's message id."""
        return self.metadata.get("ce-id") or self.message_id

    @property
    def type(self) -> str:
        """The CloudEvent's type, or the empty string."""
        return self.metadata.get("ce-type", "")

    @property
    def time(self) -> str:
        """RFC 3339: when it happened, or when the API took it."""
        return self.metadata.get("ce-time") or self.timestamp

    @property
    def content_type(self) -> str:
        """The data's media type, or the empty string."""
        return self.metadata.get("ce-datacontenttype", "")

    @property
    def session(self) -> int:
        """The session within its connection; 0 when the event belongs to none."""
        return _number(self.metadata.get("ce-session", ""))

    @property
    def sequence(self) -> int:
        """The message's number within its session; 0 when it has none."""
        return _number(self.metadata.get("ce-sequence", ""))

    @property
    def is_message(self) -> bool:
        """Whether it is a message of a connection."""
        return self.type == MESSAGE_TYPE

    @property
    def marker(self) -> str:
        """The in-stream marker it is: started, gap or ended; else the empty string."""
        if not self.type.startswith(STREAM_TYPE_PREFIX):
            return ""
        return self.type.removeprefix(STREAM_TYPE_PREFIX)

    @property
    def state(self) -> str:
        """The last word of its type: for a lifecycle event, the state."""
        return self.type.rpartition(".")[2]

    @property
    def connection_id(self) -> str:
        """The connection it tells of, or the empty string."""
        subject = self.metadata.get("ce-subject", "")
        return self.metadata.get("ce-websocketid") or subject.removeprefix("connection/")

    @property
    def text(self) -> str | None:
        """The data as text, or None when it is binary by its type or by its bytes."""
        kind = self.content_type.partition(";")[0].strip().lower()
        if kind and not kind.startswith("text/") and not kind.endswith("json"):
            return None
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            return None

    @property
    def members(self) -> Mapping[str, Any]:
        """The members of data that is a JSON object; else empty."""
        try:
            content = json.loads(self.data)
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0
