"""Requests and answers of `Get`, `Update`, `Watch` and `Tail`."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format

from tests.api.face import ID, VIEW
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.api import translate, translate_live
from websocketmanager.domain.change import ConnectionChange, SubscriptionsChange
from websocketmanager.domain.model import (
    ConnectionDetail,
    Kind,
    LifecycleNotice,
    LiveStatistics,
    TailedMessage,
    Topic,
    Transition,
)
from websocketmanager.domain.options import Match, Pattern, Payload, Subscription
from websocketmanager.errors import InvalidArgument

UPPER = ID.upper()
A = {"key": "a", "subscribe": {"text": "+a"}}


def update(**fields: Any) -> pb.UpdateRequest:
    return json_format.ParseDict({"id": UPPER} | fields, pb.UpdateRequest())


@pytest.mark.parametrize(
    ("fields", "change"),
    [
        ({"topic": "a.b"}, ConnectionChange(ID, reroute=True, topic=Topic("a.b"))),
        ({"topic": ""}, ConnectionChange(ID, reroute=True)),
        ({"tags": {}}, ConnectionChange(ID, tags={})),
        ({"tags": {"tags": {"k": "v"}}}, ConnectionChange(ID, tags={"k": "v"})),
        (
            {"subscriptions": {"set": {}}},
            ConnectionChange(ID, subscriptions=SubscriptionsChange(whole=())),
        ),
        (
            {"subscriptions": {"add": [A | {"acknowledge": {"regex": "x"}}], "remove": ["b"]}},
            ConnectionChange(
                ID,
                subscriptions=SubscriptionsChange(
                    add=(
                        Subscription(
                            "a",
                            Payload(text="+a"),
                            acknowledge=Pattern(Match.REGEX, regex="x"),
                        ),
                    ),
                    remove=("b",),
                ),
            ),
        ),
    ],
)
def test_what_an_update_asks_for(fields: dict[str, Any], change: ConnectionChange) -> None:
    assert translate_live.change(update(**fields), compile_regex) == change


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({}, ["request"]),
        ({"id": "?", "topic": "a b"}, ["id", "topic"]),
        ({"tags": {"tags": {"": ""}}}, ["tags.tags[''].key"]),
        ({"subscriptions": {}}, ["subscriptions"]),
        ({"subscriptions": {"set": {}, "remove": ["a"]}}, ["subscriptions.set"]),
        (
            {"subscriptions": {"set": {"subscriptions": [A, {"key": "b"}, A]}}},
            [
                "subscriptions.set.subscriptions[1].subscribe",
                "subscriptions.set.subscriptions[2].key",
            ],
        ),
        (
            {"subscriptions": {"add": [{"subscribe": {"text": "${nonsense}"}}]}},
            ["subscriptions.add[0].key", "subscriptions.add[0].subscribe.text"],
        ),
        (
            {"subscriptions": {"add": [A | {"acknowledge": {"regex": "x", "frame": 9}}]}},
            [
                "subscriptions.add[0].acknowledge.frame",
            ],
        ),
        (
            {"subscriptions": {"add": [A], "remove": ["", "a", "k" * 257]}},
            [f"subscriptions.remove[{number}]" for number in range(3)],
        ),
        ({"subscriptions": {"remove": ["a"] * 1025}}, ["subscriptions.remove"]),
        (
            {"subscriptions": {"add": [A | {"key": f"k{n}"} for n in range(1025)]}},
            ["subscriptions.add"],
        ),
    ],
)
def test_what_is_wrong_with_an_update(fields: dict[str, Any], paths: list[str]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        translate_live.change(update(**fields), compile_regex)
    assert sorted({fault.path for fault in refused.value.faults}) == sorted(paths)


def test_what_a_watch_asks_for() -> None:
    request = pb.WatchRequest(filters=[pb.TagFilter(key="k", value="v")])
    assert translate_live.watch(request) == (None, (("k", "v"),), None)
    assert translate_live.watch(pb.WatchRequest(id=UPPER)) == (ID, (), None)
    assert translate_live.watch(pb.WatchRequest(id=UPPER, after_event=0)) == (ID, (), 0)


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (pb.WatchRequest(id="?"), "id"),
        (pb.WatchRequest(after_event=1), "after_event"),
        (pb.WatchRequest(id=ID, after_event=-1), "after_event"),
        (pb.WatchRequest(filters=[pb.TagFilter()]), "filters[0].key"),
    ],
)
def test_what_is_wrong_with_a_watch(request_: pb.WatchRequest, path: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        translate_live.watch(request_)
    assert [fault.path for fault in refused.value.faults] == [path]


def test_a_tail() -> None:
    assert translate_live.tail(pb.TailRequest(id=UPPER, max_message_bytes=5)) == (ID, 5)
    with pytest.raises(InvalidArgument) as refused:
        translate_live.tail(pb.TailRequest(id="", max_message_bytes=-1))
    assert [fault.path for fault in refused.value.faults] == ["id", "max_message_bytes"]


def test_a_detail_names_every_field() -> None:
    transition = Transition(1, 1.5, "error", 2, 3, 4, "t", "m", 5, "r", restored=True)
    live = LiveStatistics(1.0, 2.0, 3.0, 4.0, 0.0, 5, 6.5, 7, 8)
    message = translate_live.detail_message(
        ConnectionDetail(VIEW, live, (transition, transition), transition)
    )
    for part in (message, message.statistics, message.last_error):
        assert {field.name for field, _ in part.ListFields()} == {
            field.name for field in part.DESCRIPTOR.fields
        }
    assert message.connection == translate.connection_message(VIEW)
    assert len(message.transitions) == 2
    assert (message.statistics.data_age_ms, message.statistics.publish_lag_ms) == (0, 6500)
    plain = translate_live.detail_message(ConnectionDetail(VIEW, LiveStatistics()))
    assert not plain.HasField("last_error")
    assert not plain.statistics.HasField("data_age_ms")


def test_a_notice_names_every_field() -> None:
    notice = LifecycleNotice(ID, "i", "t.error", "error", 7, 0.5, '{"a":"ü"}'.encode(), 3)
    message = translate_live.notice_message(notice)
    assert message == pb.WatchResponse(
        connection_id=ID,
        id="i",
        type="t.error",
        state="error",
        event=7,
        time="1970-01-01T00:00:00.500000Z",
        data='{"a":"ü"}',
        missed=3,
    )
    assert len(message.ListFields()) == len(message.DESCRIPTOR.fields)


def test_a_tailed_message_names_every_field() -> None:
    seen = TailedMessage("i", Kind.BINARY, b"\xff", 9, 0.5, 1, 2, 3, Topic("a.b"), 4)
    message = translate_live.tailed_message(seen)
    assert message == pb.TailResponse(
        id="i",
        data=b"\xff",
        content_type="application/octet-stream",
        time="1970-01-01T00:00:00.500000Z",
        session=1,
        sequence=2,
        owner_epoch=3,
        size=9,
        topic="a.b",
        skipped=4,
    )
    assert len(message.ListFields()) == len(message.DESCRIPTOR.fields)
