"""The hand-written bytes are those of the protobuf classes, for every event."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.builders import event, events
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.domain.envelope import (
    Event,
    MessageEvent,
    MessageRun,
    Parcel,
    Route,
    count_events,
    each_event,
)
from websocketmanager.domain.model import Topic
from websocketmanager.domain.wire import EventEncoder, event_heads, framed, varint

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


#: Around each number of digits, and where the digits of a thousand change.
NUMBERS = st.sampled_from(
    [1, 9, 10, 99, 100, 999, 1000, 1001, 9_999, 10_000, 99_999, 10**6, 10**19 - 1, 10**19]
).flatmap(lambda number: st.integers(max(1, number - 12), number + 2))
SIZES = st.sampled_from([0, 1, 127, 128, 4095, 4096, 5000]) | st.integers(0, 300)


@st.composite
def parcels(draw: st.DrawFn) -> list[Parcel]:
    """What comes: few routes, kinds and times, so that what was kept is used again."""
    routes = draw(st.lists(ROUTES, min_size=1, max_size=3))
    kinds = draw(st.lists(TEXT, min_size=1, max_size=2))
    times = draw(st.lists(TIMES, min_size=1, max_size=2))
    message = st.builds(
        MessageEvent,
        st.sampled_from(routes),
        SIZES.map(bytes),
        st.sampled_from(kinds),
        st.just(1),
        NUMBERS,
        st.sampled_from(times),
    )
    run = st.builds(
        run_of,
        st.sampled_from(routes),
        st.lists(SIZES.map(bytes), min_size=1, max_size=25),
        st.sampled_from(kinds),
        NUMBERS,
        st.sampled_from(times),
    )
    return draw(st.lists(message | run | OTHERS, max_size=8))


def run_of(
    route: Route, payloads: list[bytes], kind: str, first: int, at: float = 0.5
) -> MessageRun:
    return MessageRun(route, payloads, kind, 1, first, at, sum(map(len, payloads)))


def parsed(body: bytes) -> list[pb.PublishRequest]:
    return list(pb.PublishEventsRequest.FromString(body).events)


def expected(one: Event, pubsub_name: str) -> pb.PublishRequest:
    metadata = {"pubsubname": pubsub_name, **one.metadata}
    return pb.PublishRequest(topic=one.route.topic, data=one.data, metadata=metadata)


@given(EVENTS, TEXT)
def test_an_event_is_the_same_request(one: Event, pubsub_name: str) -> None:
    encoder = EventEncoder(pubsub_name)
    for _ in range(2):  # the second time from what is remembered
        assert pb.PublishRequest.FromString(encoder.request(one)) == expected(one, pubsub_name)


@given(parcels())
def test_a_batch_is_the_same_request(several: list[Parcel]) -> None:
    encoder = EventEncoder("pubsub")
    want = pb.PublishEventsRequest(events=[expected(one, "pubsub") for one in each_event(several)])

    for _ in range(2):
        body, count = encoder.batch(several, 0, PLENTY)
        assert count == count_events(several)
        assert pb.PublishEventsRequest.FromString(body) == want
        apart = b"".join(map(framed, encoder.requests(several)))
        assert pb.PublishEventsRequest.FromString(apart) == want


@given(sizes=st.lists(st.integers(0, 4200) | st.integers(0, 1 << 28)))
def test_heads_of_entries_are_tag_and_length(sizes: list[int]) -> None:
    assert event_heads(sizes) == [b"\x0a" + varint(size) for size in sizes]


@pytest.mark.parametrize("size", [0, 1, 127, 128, 4095, 4096, 16_383, 16_384, 3 * 1024 * 1024])
def test_every_length_of_data_is_right(size: int) -> None:
    encoder = EventEncoder("p")
    route = Route(Topic("a.b"), (), id_prefix="c/")
    message = MessageEvent(route, b"x" * size, "text/plain", 1, 7, 0.5)
    run = run_of(route, [b"x" * size], "text/plain", 7)
    for whole in (event(data=b"x" * size), message, run):
        [one] = each_event([whole])
        body, count = encoder.batch([whole], 0, PLENTY)
        assert count == 1
        assert parsed(body) == [expected(one, "p")]
        assert [pb.PublishRequest.FromString(r) for r in encoder.requests([whole])] == parsed(body)
        assert pb.PublishRequest.FromString(encoder.request(one)) == expected(one, "p")


@pytest.mark.parametrize(
    "first", [1, 9, 10, 95, 99, 100, 990, 999, 1000, 1001, 9_999, 99_999, 10**18 - 3, 10**19]
)
@pytest.mark.parametrize("count", [1, 2, 10, 2500])
def test_every_number_of_a_run_is_written_in_full(first: int, count: int) -> None:
    """Over the changes of digits, and over more than one block of a thousand."""
    encoder = EventEncoder("p")
    route = Route(Topic("a.b"), (), id_prefix="c/1/2/")
    run = run_of(route, [b"%d" % number for number in range(count)], "text/plain", first)
    body, taken = encoder.batch([run], 0, PLENTY)
    assert taken == count
    for number, one in enumerate(parsed(body)):
        assert one.data == b"%d" % number
        assert one.metadata["ce-id"] == f"c/1/2/{first + number}"
        assert one.metadata["ce-sequence"] == f"{first + number:020d}"


def test_messages_that_came_apart_are_as_those_of_a_run() -> None:
    """Gathered, so that it costs no more; and what does not continue is not."""
    encoder = EventEncoder("p")
    route = Route(Topic("a.b"), (), id_prefix="c/")
    run = run_of(route, [b"a", b"bc", b""], "text/plain", 9)
    assert encoder.batch(run.events(), 0, PLENTY) == encoder.batch([run], 0, PLENTY)
    plain = MessageEvent(route, b"", "text/plain", 1, 9, 0.5)
    for other in (
        MessageEvent(route, b"", "text/plain", 1, 11, 0.5),
        MessageEvent(route, b"", "text/plain", 1, 10, 0.75),
        MessageEvent(route, b"", "application/json", 1, 10, 0.5),
        MessageEvent(Route(Topic("a.c"), ()), b"", "text/plain", 1, 10, 0.5),
    ):
        body, _ = encoder.batch([plain, other], 0, PLENTY)
        assert parsed(body) == [expected(plain, "p"), expected(other, "p")]


@given(st.integers(min_value=0, max_value=2**31 - 1))
def test_varints_are_protobuf_s(number: int) -> None:
    # Field 1 of this message is an int32: a tag byte, then the varint.
    assert pb.PublishEventsResponse.FromString(b"\x08" + varint(number)).published == number


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["message", "run", "other"]),
            st.lists(st.integers(0, 3000), min_size=1, max_size=12),
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 20_000),
    st.integers(0, 40),
)
def test_a_batch_takes_all_that_fits_and_at_least_one(
    shapes: list[tuple[str, list[int]]], limit: int, head_size: int
) -> None:
    encoder = EventEncoder("pubsub")
    route = Route(Topic("a.b"), (), id_prefix="x/")
    several: list[Parcel] = []
    number = 990  # so that runs go over a thousand
    for shape, sizes in shapes:
        if shape == "run":
            several.append(run_of(route, [bytes(size) for size in sizes], "text/plain", number))
            number += len(sizes)
        elif shape == "message":
            several.append(MessageEvent(route, bytes(sizes[0]), "text/plain", 1, number, 1.0))
            number += 1
        else:
            several.append(event(data=bytes(sizes[0])))
    head = bytes(head_size)
    framed_ones = [framed(request) for request in encoder.requests(several)]
    start = 0
    while start < len(framed_ones):
        body, count = encoder.batch(several, start, limit, head)
        assert body == head + b"".join(framed_ones[start : start + count])
        assert count == 1 or len(body) <= limit
        if start + count < len(framed_ones):
            assert len(body) + len(framed_ones[start + count]) > limit
        start += count
    assert encoder.batch(several, start, limit, head) == (head, 0)


@pytest.mark.parametrize("shape", ["run", "runs of one", "messages", "others"])
def test_a_batch_of_exactly_the_limit_fits(shape: str) -> None:
    encoder = EventEncoder("p")
    route = Route(Topic("a.b"), (), id_prefix="c/")
    run = run_of(route, [b"x" * size for size in range(8)], "text/plain", 997)
    shapes: dict[str, list[Parcel]] = {
        "run": [run],
        "runs of one": [run.part(n, n + 1) for n in range(8)],
        "messages": [*run.events()],
        "others": [*events("topic", [b"x" * size for size in range(8)])],
    }
    several = shapes[shape]
    sizes = [len(framed(request)) for request in encoder.requests(several)]
    for count in range(2, 9):
        for short in (0, 1):
            body, taken = encoder.batch(several, 0, sum(sizes[:count]) - short)
            assert (taken, len(body)) == (count - short, sum(sizes[: count - short]))


def test_what_is_kept_of_a_route_is_forgotten_with_the_route() -> None:
    encoder = EventEncoder("pubsub")
    several = events("topic", [b"a", b"b"])
    encoder.batch(several, 0, PLENTY)
    assert len(encoder._pieces) == 1

    del several
    gc.collect()

    assert len(encoder._pieces) == 0
