"""Correlates a reply with its request (RPC `Send`): by 16 leading bytes, or by a JSON member.

The bytes are a random UUID (RFC 9562, version 4) that is also valid UTF-8, so that a Text frame
stays legal (RFC 6455 §8.1). Real servers rather echo a member of the request: then its place is
chosen by JSON pointers (RFC 6901).
"""

from __future__ import annotations

import json
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from websocketmanager.domain.json_pointer import MISSING, insert, lookup, parse_pointer
from websocketmanager.domain.options import Correlation
from websocketmanager.errors import Fault, InvalidArgument

PREFIX_BYTES = 16
#: A reply above this is not parsed in search of its id.
_MAX_REPLY_BYTES = 1024 * 1024
_SAFE_INTEGER_BYTES = 6


class Correlator(Protocol):
    """Frames requests and recognises their replies. Keys are equal exactly when ids are."""

    def framed(self, message: bytes, random_bytes: bytes) -> tuple[bytes, bytes]:
        """Returns the request's key and its bytes on the wire.

        Raises:
            InvalidArgument: the message has no place for an id.
        """

    def key_of(self, message: bytes) -> bytes | None:
        """Returns the key that a message carries, if any. Never raises."""

    def reply_of(self, message: bytes) -> bytes:
        """Returns what the caller gets of a correlated message."""


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


class PrefixCorrelator:
    """By 16 leading bytes, which the caller never sees."""

    def framed(self, message: bytes, random_bytes: bytes) -> tuple[bytes, bytes]:
        """Returns a fresh prefix and the message behind it."""
        prefix = correlation_prefix(random_bytes)
        return prefix, prefix + message

    def key_of(self, message: bytes) -> bytes | None:
        """Returns the bytes that may be a prefix."""
        return message[:PREFIX_BYTES]

    def reply_of(self, message: bytes) -> bytes:
        """Returns the message without its prefix."""
        return message[PREFIX_BYTES:]


class JsonCorrelator:
    """By a member of the JSON: the caller's own id, or one that is put in.

    Args:
        request_pointer: where the request has, or gets, its id.
        reply_pointer: where the reply carries it.
    """

    def __init__(self, request_pointer: str, reply_pointer: str) -> None:
        self._request = parse_pointer(request_pointer)
        self._reply = parse_pointer(reply_pointer)

    def framed(self, message: bytes, random_bytes: bytes) -> tuple[bytes, bytes]:
        """Returns the key of the id and the request, with an id put in if it had none.

        An id that is put in is an integer below 2^48, which every JSON reader keeps exactly.

        Raises:
            InvalidArgument: the message is no JSON, or there is no place for an id.
        """
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            raise InvalidArgument(
                Fault("message", "must be JSON: its id is looked for in there")
            ) from None
        found = lookup(value, self._request)
        if found is not MISSING and found is not None:
            return _key(found), message
        fresh = int.from_bytes(random_bytes[:_SAFE_INTEGER_BYTES], "big")
        filled = insert(value, self._request, fresh)
        if filled is MISSING:
            raise InvalidArgument(
                Fault("message", "has no place for the id of options.correlation")
            )
        wire = json.dumps(filled, ensure_ascii=False, separators=(",", ":")).encode()
        return _key(fresh), wire

    def key_of(self, message: bytes) -> bytes | None:
        """Returns the key of the id in a JSON message."""
        if len(message) > _MAX_REPLY_BYTES:
            return None
        try:
            found = lookup(json.loads(message), self._reply)
        except (ValueError, RecursionError):
            return None
        return None if found is MISSING or found is None else _key(found)

    def reply_of(self, message: bytes) -> bytes:
        """Returns the whole message: its id belongs to the server's protocol."""
        return message


#: By choice, as long as a connection has made it.
_CORRELATORS: Final[WeakKeyDictionary[Correlation, Correlator]] = WeakKeyDictionary()


def correlator_of(options: Correlation) -> Correlator:
    """Returns the correlator that a connection's options choose; it remembers no request."""
    correlator = _CORRELATORS.get(options)
    if correlator is None:
        correlator = _CORRELATORS[options] = _correlator_of(options)
    return correlator


def _correlator_of(options: Correlation) -> Correlator:
    if not options.request_pointer and not options.reply_pointer:
        return PrefixCorrelator()
    request = options.request_pointer or options.reply_pointer
    return JsonCorrelator(request, options.reply_pointer or request)


def _key(identity: object) -> bytes:
    return json.dumps(identity, sort_keys=True, ensure_ascii=True).encode()
