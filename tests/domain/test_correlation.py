"""Correlation prefixes: version 4 UUIDs that are valid UTF-8."""

from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain import correlation
from websocketmanager.domain.correlation import correlator_of
from websocketmanager.domain.options import Correlation
from websocketmanager.errors import InvalidArgument


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
def test_a_prefix_comes_and_goes_unseen(random_bytes: bytes, message: bytes) -> None:
    correlator = correlator_of(Correlation())
    key, wire = correlator.framed(message, random_bytes)
    assert correlator.key_of(wire) == key
    assert correlator.reply_of(wire) == message


RANDOM = bytes(range(1, 17))


@pytest.mark.parametrize(
    ("options", "request_text", "reply_text"),
    [
        (Correlation("/id"), '{"id":7,"method":"x"}', '{"result":null,"id":7}'),
        (Correlation("/id"), '{"id":"a"}', '{"id":"a"}'),
        (Correlation("/req_id", "/echo/req"), '{"req_id":7}', '{"echo":{"req":7}}'),
        (Correlation("", "/id"), '{"id":[1,{"b":2,"a":1}]}', '{"id":[1,{"a":1,"b":2}]}'),
    ],
)
def test_the_callers_own_id(options: Correlation, request_text: str, reply_text: str) -> None:
    correlator = correlator_of(options)
    key, wire = correlator.framed(request_text.encode(), RANDOM)
    assert wire == request_text.encode()
    assert correlator.key_of(reply_text.encode()) == key
    assert correlator.reply_of(reply_text.encode()) == reply_text.encode()


@given(st.binary(min_size=16, max_size=16))
def test_an_id_is_put_in(random_bytes: bytes) -> None:
    correlator = correlator_of(Correlation("/id", "/reply/id"))
    key, wire = correlator.framed(b'{"m":"\xc3\xbc","id":null}', random_bytes)
    value = json.loads(wire)
    assert value["m"] == "ü"
    assert 0 <= value["id"] < 2**48
    assert correlator.key_of(json.dumps({"reply": {"id": value["id"]}}).encode()) == key


@pytest.mark.parametrize("message", [b"", b"{", b"\xff", b"[" * 100_000, b"7", b"[]"])
def test_a_request_without_a_place_for_an_id_is_refused(message: bytes) -> None:
    with pytest.raises(InvalidArgument, match=r"^message: "):
        correlator_of(Correlation("/id")).framed(message, RANDOM)


def test_one_and_true_are_different_ids() -> None:
    correlator = correlator_of(Correlation("/id"))
    keys = {correlator.key_of(text) for text in (b'{"id":1}', b'{"id":true}', b'{"id":"1"}')}
    assert len(keys) == 3


@given(st.binary())
def test_no_message_breaks_it(message: bytes) -> None:
    correlator = correlator_of(Correlation("/id"))
    assert correlator.key_of(message) is None or message.strip()


def test_large_and_deep_messages_are_no_replies() -> None:
    correlator = correlator_of(Correlation("/id"))
    assert correlator.key_of(b'{"id":7,"x":"' + b"x" * (1 << 20) + b'"}') is None
    assert correlator.key_of(b"[" * 100_000) is None
