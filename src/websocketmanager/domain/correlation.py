"""Correlates a reply with its request by 16 leading bytes (RPC `Send`).

The bytes are a random UUID (RFC 9562, version 4) that is also valid UTF-8, so that a Text frame
stays legal (RFC 6455 §8.1).
"""

from __future__ import annotations

PREFIX_BYTES = 16


def correlation_prefix(random_bytes: bytes) -> bytes:
    """Returns a version 4 UUID that is valid UTF-8, made from 16 random bytes.

    All bytes are ASCII but two: byte 8 must begin with the bits 10 (the variant), which in UTF-8
    is a continuation byte, so byte 7 is the lead of a two-byte sequence (C2 to DF). 103 of the
    bits stay random.
    """
    octets = bytearray(byte & 0x7F for byte in random_bytes[:PREFIX_BYTES])
    octets[6] = 0x40 | (octets[6] & 0x0F)
    octets[7] = 0xC2 + random_bytes[7] % 30
    octets[8] = 0x80 | (random_bytes[8] & 0x3F)
    return bytes(octets)


def framed(prefix: bytes, message: bytes) -> bytes:
    """Returns the request as it goes over the wire."""
    return prefix + message


def prefix_of(message: bytes) -> bytes:
    """Returns the bytes of a message that may be a correlation prefix."""
    return message[:PREFIX_BYTES]


def reply_of(message: bytes) -> bytes:
    """Returns a correlated message without its prefix."""
    return message[PREFIX_BYTES:]
