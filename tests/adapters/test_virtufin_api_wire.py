"""The hand-written bytes are those of the protobuf classes, for every event."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.builders import event, events
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.adapters.virtufin_api.wire import EventEncoder, batch, varint
from websocketmanager.domain.envelope import Event, Route
from websocketmanager.domain.model import Topic

#: What UTF-8 can hold: all of Unicode without surrogates.
TEXT = st.text(st.characters(codec="utf-8"), max_size=300)
METADATA = st.lists(st.tuples(TEXT, TEXT), max_size=14).map(tuple)
ROUTES = st.builds(Route, TEXT.map(Topic), METADATA)
EVENTS = st.builds(Event, ROUTES, st.binary(max_size=20_000), METADATA)


def expected(one: Event, pubsub_name: str) -> pb.PublishRequest:
    metadata = {"pubsubname": pubsub_name, **one.metadata}
    return pb.PublishRequest(topic=one.route.topic, data=one.data, metadata=metadata)


@given(EVENTS, TEXT)
def test_an_event_is_the_same_request(one: Event, pubsub_name: str) -> None:
    encoder = EventEncoder(pubsub_name)
    for _ in range(2):  # the second time from the remembered prefix
        assert pb.PublishRequest.FromString(encoder.request(one)) == expected(one, pubsub_name)


@given(st.lists(EVENTS, max_size=5))
def test_a_batch_is_the_same_request(several: list[Event]) -> None:
    encoder = EventEncoder("pubsub")
    body = batch([encoder.request(one) for one in several])

    want = pb.PublishEventsRequest(events=[expected(one, "pubsub") for one in several])
    assert pb.PublishEventsRequest.FromString(body) == want


@pytest.mark.parametrize("size", [0, 1, 127, 128, 4095, 4096, 16_383, 16_384, 3 * 1024 * 1024])
def test_every_length_of_data_is_right(size: int) -> None:
    one = event(data=b"x" * size)

    assert pb.PublishRequest.FromString(EventEncoder("p").request(one)) == expected(one, "p")


@given(st.integers(min_value=0, max_value=2**31 - 1))
def test_varints_are_protobuf_s(number: int) -> None:
    # Field 1 of this message is an int32: a tag byte, then the varint.
    assert pb.PublishEventsResponse.FromString(b"\x08" + varint(number)).published == number


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=20), st.integers(0, 20_000))
def test_a_batch_takes_all_that_fits_and_at_least_one(sizes: list[int], limit: int) -> None:
    encoder = EventEncoder("pubsub")
    several = events("topic", [b"x" * size for size in sizes])

    requests = encoder.requests_within(several, limit)

    assert requests == [encoder.request(one) for one in several[: len(requests)]]
    assert len(requests) == 1 or len(batch(requests)) <= limit
    if len(requests) < len(several):
        more = [encoder.request(one) for one in several[: len(requests) + 1]]
        assert len(batch(more)) > limit


def test_a_route_s_prefix_is_forgotten_with_the_route() -> None:
    encoder = EventEncoder("pubsub")
    several = events("topic", [b"a", b"b"])
    for one in several:
        encoder.request(one)
    assert len(encoder._prefixes) == 1

    del one, several
    gc.collect()

    assert len(encoder._prefixes) == 0
