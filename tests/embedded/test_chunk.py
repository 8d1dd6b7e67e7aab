"""Chunks are bytes of `PubsubEvents`, and can be walked entry by entry."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.embedded.chunk import chunk_of, entry_end, without_head

HEAD, TAIL = b"\x22\x03i-", b"\x2a\x01t"


@given(datas=st.lists(st.binary(max_size=300) | st.just(b"x" * 20_000), min_size=1, max_size=20))
def test_every_event_gets_its_id_and_the_time(datas: list[bytes]) -> None:
    requests = [pb.PublishRequest(topic="a.b", data=d).SerializeToString() for d in datas]
    sizes = [len(request) + len(HEAD) + 1 + len(TAIL) for request in requests]
    ids = [b"%d" % (number % 10) for number in range(len(datas))]

    chunk = chunk_of(requests, sizes, HEAD, ids, TAIL)

    assert chunk.events == len(datas)
    events = pb.PubsubEvents.FromString(chunk.body).events
    assert [event.data for event in events] == datas
    assert [event.message_id for event in events] == [f"i-{one.decode()}" for one in ids]
    assert {(event.topic, event.timestamp) for event in events} == {("a.b", "t")}


@given(datas=st.lists(st.binary(max_size=300) | st.just(b"x" * 20_000), min_size=1, max_size=20))
def test_entries_are_found_by_their_lengths(datas: list[bytes]) -> None:
    events = [pb.PubsubSubscribeResponse(data=data) for data in datas]
    body = pb.PubsubEvents(events=events).SerializeToString()
    place = 0
    for event in events:
        end = entry_end(body, place)
        assert without_head(body[place:end]) == event.SerializeToString()
        place = end
    assert place == len(body)
