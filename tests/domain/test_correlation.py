"""Correlation prefixes: version 4 UUIDs that are valid UTF-8."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain import correlation


@given(st.binary(min_size=16, max_size=16))
def test_prefix_is_a_random_uuid_and_valid_utf8(random_bytes: bytes) -> None:
    prefix = correlation.correlation_prefix(random_bytes)
    assert len(prefix) == 16
    prefix.decode()
    parsed = uuid.UUID(bytes=prefix)
    assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_randomness_is_kept(one: bytes, other: bytes) -> None:
    masked = [bytes(b & 0x0F for b in value) for value in (one, other)]
    same = correlation.correlation_prefix(one) == correlation.correlation_prefix(other)
    if same:
        # Low bits of all bytes but byte 7, which is a choice of thirty, are carried over.
        assert masked[0][:7] + masked[0][8:] == masked[1][:7] + masked[1][8:]


@given(st.binary(min_size=16, max_size=16), st.binary())
def test_framing_round_trip(random_bytes: bytes, message: bytes) -> None:
    prefix = correlation.correlation_prefix(random_bytes)
    wire = correlation.framed(prefix, message)
    assert correlation.prefix_of(wire) == prefix
    assert correlation.reply_of(wire) == message
