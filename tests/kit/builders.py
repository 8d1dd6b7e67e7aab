"""Values that many tests need, with the uninteresting parts filled in."""

from __future__ import annotations

from websocketmanager.domain.envelope import Event, MessageRun, Parcel, Route
from websocketmanager.domain.model import Topic


def event(topic: str = "websocketmanager.test", number: int = 1, data: bytes = b"data") -> Event:
    """Returns one event on a route of its own, `ce-id` being its number."""
    return events(topic, [data], first=number)[0]


def events(topic: str, datas: list[bytes], *, first: int = 1) -> list[Event]:
    """Returns events on one route in order, `ce-id` counting from `first`."""
    route = Route(Topic(topic), (("ce-specversion", "1.0"), ("ce-source", "urn:test")))
    return [
        Event(route, data, (("ce-id", str(number)), ("ce-type", "test")), number)
        for number, data in enumerate(datas, first)
    ]


def run(topic: str, datas: list[bytes], *, first: int = 1) -> MessageRun:
    """Returns messages that arrived together, `ce-id` counting from `first`."""
    constant = (("ce-specversion", "1.0"), ("ce-source", "urn:test"), ("ce-type", "test"))
    route = Route(Topic(topic), constant, is_message=True)
    size = sum(map(len, datas))
    return MessageRun(route, datas, "text/plain", 1, first, 0.5, size)


def parcels(topic: str, datas: list[bytes], *, first: int = 1, together: bool) -> list[Parcel]:
    """Returns events, or one run of as many, `ce-id` counting from `first`."""
    return [run(topic, datas, first=first)] if together else [*events(topic, datas, first=first)]
