"""The two kinds of message that RFC 6455 knows. Imports nothing but the standard library."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The frame type of a message; the value is its content type on the wire."""

    TEXT = "text/plain"
    BINARY = "application/octet-stream"
