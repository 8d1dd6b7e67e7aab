"""Judges of a caller's fields: tables of what passes and of what is named as a fault."""

from __future__ import annotations

import pytest

from websocketmanager.domain import limits
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import (
    BufferOptions,
    ConnectionOptions,
    FirstDial,
    Format,
    ReconnectOptions,
)
from websocketmanager.domain.options import Overflow
from websocketmanager.errors import Fault

UUID = "0189f7ea-7b2c-4d3e-8f10-00000000000a"


def problem(faults: list[Fault]) -> str:
    """Returns the one fault as its sentence, or nothing when there is none."""
    assert len(faults) <= 1
    return str(faults[0]) if faults else ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (UUID, ""),
        (UUID.upper(), ""),
        ("", "id: must not be empty"),
        ("x", "id: 'x' is not a UUID (8-4-4-4-12 hexadecimal digits)"),
        (UUID + "\n", f"id: '{UUID}\\n' is not a UUID (8-4-4-4-12 hexadecimal digits)"),
        (UUID.replace("-", ""), "is not a UUID"),
        ("{" + UUID + "}", "is not a UUID"),
        ("urn:uuid:" + UUID, "is not a UUID"),
        (UUID[:-1] + "٣", "is not a UUID"),
        ("a" * 1_000_000, "id: '" + "a" * 40 + "…' is not a UUID"),
    ],
)
def test_connection_id(text: str, expected: str) -> None:
    found = problem(limits.connection_id_faults(text))
    assert expected in found
    assert bool(expected) == bool(found)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("mymodule.ticks", []),
        ("act.exchange.kraken.BTC-USD.trade.1", []),
        ("plain", []),
        ("t" * 256, []),
        ("Δ.ß", []),
        ("", ["topic: must not be empty"]),
        ("t" * 257, ["topic: must have at most 256 characters, not 257"]),
        (" " * 257, ["topic: must have at most 256 characters, not 257"]),
        ("a b", ["topic: must not contain white space"]),
        ("a\u2003b", ["topic: must not contain white space"]),
        ("a\u0000b", ["topic: must not contain control characters"]),
        (
            "a\u0085b",
            ["topic: must not contain control characters", "topic: must not contain white space"],
        ),
        ("a.*", ["topic: must not contain the wildcard *"]),
        ("a.>", ["topic: must not contain the wildcard >"]),
        ("#", ["topic: must not contain the wildcard #"]),
        ("*.#", ["topic: must not contain the wildcard * #"]),
        (".", ["topic: must not have an empty segment between dots"]),
        (".a", ["topic: must not have an empty segment between dots"]),
        ("a.", ["topic: must not have an empty segment between dots"]),
        ("a..b", ["topic: must not have an empty segment between dots"]),
        (
            "* .",
            [
                "topic: must not contain white space",
                "topic: must not contain the wildcard *",
                "topic: must not have an empty segment between dots",
            ],
        ),
    ],
)
def test_topic(topic: str, expected: list[str]) -> None:
    assert [str(fault) for fault in limits.topic_faults(topic)] == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("n", ""),
        ("Ω feed #1", ""),
        ("😀" * 256, ""),
        ("", "name: must not be empty"),
        ("😀" * 257, "name: must have at most 256 characters, not 257"),
        ("a\nb", "name: must not contain control characters"),
        ("\x7f", "name: must not contain control characters"),
    ],
)
def test_name(name: str, expected: str) -> None:
    assert problem(limits.name_faults(name)) == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, []),
        ({"k": ""}, []),
        ({"k" * 128: "v" * 1024}, []),
        ({"ключ": "💡" * 1024, "b": "line\nbreak"}, []),
        ({str(n): "" for n in range(50)}, []),
        ({str(n): "" for n in range(51)}, ["tags: must be at most 50, not 51"]),
        ({"": "v"}, ["tags[''].key: must not be empty"]),
        ({"k" * 129: ""}, [f"tags['{'k' * 40}…'].key: must have at most 128 characters, not 129"]),
        ({"k": "v" * 1025}, ["tags['k'].value: must have at most 1024 characters, not 1025"]),
        ({"a\tb": ""}, ["tags['a\\tb'].key: must not contain control characters"]),
        (
            {"": "v" * 1025, "\x00": ""},
            [
                "tags[''].key: must not be empty",
                "tags[''].value: must have at most 1024 characters, not 1025",
                "tags['\\x00'].key: must not contain control characters",
            ],
        ),
    ],
)
def test_tags(tags: dict[str, str], expected: list[str]) -> None:
    assert [str(fault) for fault in limits.tags_faults(tags)] == expected


def test_a_hostile_number_of_tags_makes_few_faults() -> None:
    tags = {f"\x00{number}": "" for number in range(10_000)}
    faults = limits.tags_faults(tags)
    assert len(faults) == 1 + limits.MAX_TAGS
    assert str(faults[0]) == "tags: must be at most 50, not 10000"


def test_single_tag_paths() -> None:
    assert problem(limits.tag_key_faults("")) == "key: must not be empty"
    assert problem(limits.tag_key_faults("", "filters[3].key")).startswith("filters[3].key:")
    assert problem(limits.tag_value_faults("v" * 1025)).startswith("value: must have at most 1024")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "text/*",
        "TEXT/Plain; Charset=UTF-8",
        'text/plain;charset="utf-8"',
        'text/plain; title="a \\" quote; and \\\\"',
        "application/json",
        "application/vnd.api+json;v=1 ; q=0.5",
        "text/plain;",
        "application/octet-stream",
    ],
)
def test_media_types(content_type: str) -> None:
    assert limits.content_type_faults(content_type) == []


@pytest.mark.parametrize(
    "content_type",
    [
        "text",
        "/",
        "text/",
        "/plain",
        "text/plain/x",
        "text /plain",
        "text/plain x",
        "text/plain; =x",
        "text/plain; a",
        "text/plain; a=",
        'text/plain; a="',
        "text/plain\n",
        "text/plain; a=b\n",
        "téxt/plain",
        "text/plain, text/html",
        # Patterns that read blanks in two ways need exponential time for these.
        "text/plain" + " ;" * 120 + "x",
        "text/plain" + "; " * 120 + "x",
    ],
)
def test_what_is_not_a_media_type(content_type: str) -> None:
    found = problem(limits.content_type_faults(content_type))
    assert found.startswith("content_type: ")
    assert found.endswith(" is not a media type (type/subtype)")


def test_long_media_type() -> None:
    longest = "text/" + "x" * 251
    assert limits.content_type_faults(longest) == []
    expected = "content_type: must have at most 256 characters, not 257"
    assert problem(limits.content_type_faults(longest + "x")) == expected


@pytest.mark.parametrize(
    ("timeout_ms", "expected"),
    [
        (0, ""),
        (1, ""),
        (3_600_000, ""),
        (-1, "timeout_ms: must be from 0 to 3600000, not -1"),
        (3_600_001, "timeout_ms: must be from 0 to 3600000, not 3600001"),
    ],
)
def test_timeout(timeout_ms: int, expected: str) -> None:
    assert problem(limits.timeout_faults(timeout_ms)) == expected


def reconnect(**values: int) -> ConnectionOptions:
    return ConnectionOptions(
        reconnect=ReconnectOptions(
            base_delay_ms=values.get("base_delay_ms", 0),
            max_delay_ms=values.get("max_delay_ms", 0),
            max_attempts=values.get("max_attempts", 0),
            stable_after_ms=values.get("stable_after_ms", 0),
        )
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (ConnectionOptions(), ""),
        (ConnectionOptions(format=Format.ENVELOPE, markers=True), ""),
        (reconnect(base_delay_ms=1, max_delay_ms=1), ""),
        (reconnect(base_delay_ms=3_600_000, max_delay_ms=3_600_000), ""),
        (reconnect(max_delay_ms=1), ""),
        (reconnect(base_delay_ms=5), ""),
        (reconnect(max_attempts=2_147_483_647, stable_after_ms=3_600_000), ""),
        (reconnect(base_delay_ms=-1), "reconnect.base_delay_ms: must be from 1 to 3600000, not -1"),
        (
            reconnect(base_delay_ms=3_600_001),
            "reconnect.base_delay_ms: must be from 1 to 3600000, not 3600001",
        ),
        (reconnect(max_delay_ms=-7), "reconnect.max_delay_ms: must be from 1 to 3600000, not -7"),
        (
            reconnect(max_delay_ms=3_600_001),
            "reconnect.max_delay_ms: must be from 1 to 3600000, not 3600001",
        ),
        (
            reconnect(base_delay_ms=10, max_delay_ms=9),
            "reconnect.max_delay_ms: must be at least base_delay_ms (10), not 9",
        ),
        (reconnect(max_attempts=-1), "reconnect.max_attempts: must be at least 0, not -1"),
        (
            reconnect(stable_after_ms=-1),
            "reconnect.stable_after_ms: must be from 1 to 3600000, not -1",
        ),
        (
            reconnect(stable_after_ms=3_600_001),
            "reconnect.stable_after_ms: must be from 1 to 3600000, not 3600001",
        ),
        (ConnectionOptions(max_message_bytes=1), ""),
        (ConnectionOptions(max_message_bytes=1000), ""),
        (
            ConnectionOptions(max_message_bytes=1001),
            "max_message_bytes: must be from 1 to 1000, not 1001",
        ),
        (
            ConnectionOptions(max_message_bytes=-1),
            "max_message_bytes: must be from 1 to 1000, not -1",
        ),
        (ConnectionOptions(buffer=BufferOptions(1, 1024)), ""),
        (ConnectionOptions(buffer=BufferOptions(1_000_000, 1_073_741_824)), ""),
        (
            ConnectionOptions(buffer=BufferOptions(max_messages=-1)),
            "buffer.max_messages: must be from 1 to 1000000, not -1",
        ),
        (
            ConnectionOptions(buffer=BufferOptions(max_messages=1_000_001)),
            "buffer.max_messages: must be from 1 to 1000000, not 1000001",
        ),
        (
            ConnectionOptions(buffer=BufferOptions(max_bytes=1023)),
            "buffer.max_bytes: must be from 1024 to 1073741824, not 1023",
        ),
        (
            ConnectionOptions(buffer=BufferOptions(max_bytes=1_073_741_825)),
            "buffer.max_bytes: must be from 1024 to 1073741824, not 1073741825",
        ),
    ],
)
def test_options(options: ConnectionOptions, expected: str) -> None:
    bounds = Limits(max_message_bytes=1000)
    found = problem(limits.options_faults(options, auto_reconnect=False, limits=bounds))
    assert found == (f"options.{expected}" if expected else "")


@pytest.mark.parametrize(
    ("buffer", "expected"),
    [
        (BufferOptions(overflow=Overflow.DROP_OLDEST), ""),
        (BufferOptions(overflow=Overflow.CONFLATE, conflate_pointer="/s"), ""),
        (
            BufferOptions(overflow=Overflow.CONFLATE),
            "conflate_pointer: must be given with OVERFLOW_CONFLATE, and only so",
        ),
        (
            BufferOptions(overflow=Overflow.CLOSE, conflate_pointer="/s"),
            "conflate_pointer: must be given with OVERFLOW_CONFLATE, and only so",
        ),
        (
            BufferOptions(overflow=Overflow.CONFLATE, conflate_pointer="s"),
            "conflate_pointer: a JSON pointer is empty or begins with a slash (RFC 6901)",
        ),
        (
            BufferOptions(overflow=Overflow.SPILL),
            "overflow: needs a folder on the local disk: the service's setting MessageLogFolder",
        ),
        (
            BufferOptions(durable=True),
            "durable: needs a folder on the local disk: the service's setting MessageLogFolder",
        ),
    ],
)
def test_overflow(buffer: BufferOptions, expected: str) -> None:
    options = ConnectionOptions(buffer=buffer)
    found = problem(limits.options_faults(options, auto_reconnect=False, limits=Limits()))
    assert found == (f"options.buffer.{expected}" if expected else "")


@pytest.mark.parametrize("overflow", Overflow)
def test_only_a_buffer_that_gives_nothing_up_is_durable(overflow: Overflow) -> None:
    pointer = "/s" if overflow is Overflow.CONFLATE else ""
    options = ConnectionOptions(buffer=BufferOptions(0, 0, overflow, pointer, durable=True))
    there = Limits(has_message_log=True)
    faults = limits.options_faults(options, auto_reconnect=False, limits=there)
    assert (faults == []) is (overflow in {Overflow.BLOCK, Overflow.SPILL})


def test_first_dial_retry_needs_auto_reconnect() -> None:
    options = ConnectionOptions(reconnect=ReconnectOptions(first_dial=FirstDial.RETRY))
    assert limits.options_faults(options, auto_reconnect=True, limits=Limits()) == []
    found = problem(limits.options_faults(options, auto_reconnect=False, limits=Limits()))
    assert found == "options.reconnect.first_dial: FIRST_DIAL_RETRY needs auto_reconnect"


def test_every_fault_of_the_options_is_found() -> None:
    options = ConnectionOptions(
        reconnect=ReconnectOptions(FirstDial.RETRY, -1, -1, -1, -1),
        max_message_bytes=-1,
        buffer=BufferOptions(-1, -1),
    )
    faults = limits.options_faults(options, auto_reconnect=False, limits=Limits(), path="o")
    assert [fault.path for fault in faults] == [
        "o.reconnect.base_delay_ms",
        "o.reconnect.max_delay_ms",
        "o.reconnect.max_attempts",
        "o.reconnect.stable_after_ms",
        "o.max_message_bytes",
        "o.buffer.max_messages",
        "o.buffer.max_bytes",
        "o.reconnect.first_dial",
    ]
