"""Events are read with forgiveness."""

from __future__ import annotations

import pytest

from tests.terminal.events import lifecycle, marker, message
from websocketmanager.terminal.received import Received


def test_a_message_knows_its_place() -> None:
    event = message(7, session=3)
    assert (event.connection_id, event.session, event.sequence) == ("c1", 3, 7)
    assert (event.is_message, event.marker, event.text) == (True, "", "hi")


def test_markers_and_lifecycle_events_know_their_word() -> None:
    assert (marker("gap").marker, marker("gap").is_message) == ("gap", False)
    event = lifecycle("reconnecting", 4, attempt=2)
    assert (event.state, event.connection_id, event.members) == (
        "reconnecting",
        "c1",
        {"attempt": 2},
    )


def test_an_event_without_metadata_is_still_an_event() -> None:
    event = Received("t.u", b"\xff", {}, "id-1", "2026-01-02T03:04:05Z")
    assert (event.id, event.time, event.type, event.state) == (
        "id-1",
        "2026-01-02T03:04:05Z",
        "",
        "",
    )
    assert (event.session, event.sequence, event.connection_id, event.text) == (0, 0, "", None)


@pytest.mark.parametrize("number", ["", "-1", "x", "1" * 21, "٣", "1.0"])
def test_numbers_that_are_none_count_as_zero(number: str) -> None:
    assert Received("t", b"", {"ce-sequence": number}, "", "").sequence == 0


@pytest.mark.parametrize(
    ("content_type", "data", "text"),
    [
        ("text/plain", b"a", "a"),
        ("Text/Plain; charset=utf-8", b"a", "a"),
        ("application/json", b"{}", "{}"),
        ("application/cloudevents+json", b"{}", "{}"),
        ("", b"a", "a"),
        ("application/octet-stream", b"a", None),
        ("text/plain", b"\xff", None),
    ],
)
def test_text_is_what_is_text_by_type_and_by_bytes(
    content_type: str, data: bytes, text: str | None
) -> None:
    assert Received("t", data, {"ce-datacontenttype": content_type}, "", "").text == text


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000])
def test_data_that_is_no_json_object_has_no_members(data: bytes) -> None:
    assert Received("t", data, {}, "", "").members == {}
