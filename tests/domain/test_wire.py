"""The hand-written bytes are those of the protobuf classes, for every event."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.builders import event, events
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.domain.envelope import Event, MessageEvent, Route
from websocketmanager.domain.model import Topic
from websocketmanager.domain.wire import EventEncoder, framed, varint

PLENTY = 1 << 40
#: What UTF-8 can hold: all of Unicode without surrogates.
TEXT = st.text(st.characters(codec="utf-8"), max_size=300)
METADATA = st.lists(st.tuples(TEXT, TEXT), max_size=14).map(tuple)
DATA = st.binary(max_size=20_000)
ROUTES = st.builds(Route, TEXT.map(Topic), METADATA, id_prefix=TEXT)
TIMES = st.floats(0, 4e9)
SEQUENCES = st.integers(1, 10**20 - 1)
OTHERS = st.builds(Event, ROUTES, DATA, METADATA)
MESSAGES = st.builds(MessageEvent, ROUTES, DATA, TEXT, st.just(1), SEQUENCES, TIMES)
EVENTS = OTHERS | MESSAGES


@st.composite
def runs(draw: st.DrawFn) -> list[Event]:
    """Messages as they come: few routes, kinds and times, so that what was kept is used again."""
    routes = draw(st.lists(ROUTES, min_size=1, max_size=3))
    kinds = draw(st.lists(TEXT, min_size=1, max_size=2))
    times = draw(st.lists(TIMES, min_size=1, max_size=2))
    message = st.builds(
        MessageEvent,
        st.sampled_from(routes),
        st.binary(max_size=6000),
        st.sampled_from(kinds),
        st.just(1),
        st.sampled_from([1, 9, 10, 99, 100, 10**19]),
        st.sampled_from(times),
    )
    return draw(st.lists(message | OTHERS, max_size=12))


def expected(one: Event, pubsub_name: str) -> pb.PublishRequest:
    metadata = {"pubsubname": pubsub_name, **one.metadata}
    return pb.PublishRequest(topic=one.route.topic, data=one.data, metadata=metadata)


@given(EVENTS, TEXT)
def test_an_event_is_the_same_request(one: Event, pubsub_name: str) -> None:
    encoder = EventEncoder(pubsub_name)
    for _ in range(2):  # the second time from what is remembered
        assert pb.PublishRequest.FromString(encoder.request(one)) == expected(one, pubsub_name)


@given(runs())
def test_a_batch_is_the_same_request(several: list[Event]) -> None:
    encoder = EventEncoder("pubsub")
    want = pb.PublishEventsRequest(events=[expected(one, "pubsub") for one in several])

    for _ in range(2):
        body, count = encoder.batch(several, 0, PLENTY)
        assert count == len(several)
        assert pb.PublishEventsRequest.FromString(body) == want
        apart = b"".join(map(framed, encoder.requests(several)))
        assert pb.PublishEventsRequest.FromString(apart) == want


@pytest.mark.parametrize("size", [0, 1, 127, 128, 4095, 4096, 16_383, 16_384, 3 * 1024 * 1024])
def test_every_length_of_data_is_right(size: int) -> None:
    encoder = EventEncoder("p")
    message = MessageEvent(Route(Topic("a.b"), ()), b"x" * size, "text/plain", 1, 7, 0.5)
    for one in (event(data=b"x" * size), message):
        body, _ = encoder.batch([one], 0, PLENTY)
        assert pb.PublishRequest.FromString(encoder.request(one)) == expected(one, "p")
        assert pb.PublishRequest.FromString(encoder.requests([one])[0]) == expected(one, "p")
        assert pb.PublishEventsRequest.FromString(body).events[0] == expected(one, "p")


@given(st.integers(min_value=0, max_value=2**31 - 1))
def test_varints_are_protobuf_s(number: int) -> None:
    # Field 1 of this message is an int32: a tag byte, then the varint.
    assert pb.PublishEventsResponse.FromString(b"\x08" + varint(number)).published == number


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3000)), min_size=1, max_size=20),
    st.integers(0, 20_000),
)
def test_a_batch_takes_all_that_fits_and_at_least_one(
    sizes: list[tuple[bool, int]], limit: int
) -> None:
    encoder = EventEncoder("pubsub")
    route = Route(Topic("a.b"), (), id_prefix="x/")
    several = [
        MessageEvent(route, b"x" * size, "text/plain", 1, 9 + place, 1.0)
        if is_message
        else event(data=b"x" * size)
        for place, (is_message, size) in enumerate(sizes)
    ]
    start = 0
    while start < len(several):
        body, count = encoder.batch(several, start, limit)
        whole, _ = encoder.batch(several[start : start + count], 0, PLENTY)
        assert body == whole
        assert count == 1 or len(body) <= limit
        if start + count < len(several):
            more, _ = encoder.batch(several[start : start + count + 1], 0, PLENTY)
            assert len(more) > limit
        start += count


def test_what_is_kept_of_a_route_is_forgotten_with_the_route() -> None:
    encoder = EventEncoder("pubsub")
    several = events("topic", [b"a", b"b"])
    encoder.batch(several, 0, PLENTY)
    assert len(encoder._pieces) == 1

    del several
    gc.collect()

    assert len(encoder._pieces) == 0
