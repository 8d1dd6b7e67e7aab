"""Every row of the error table, from outside; and thirty malformed inputs that change nothing."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import grpc
import pytest

from tests.kit.peer import running_peer, silent
from tests.kit.raw_peer import refusing_port
from tests.kit.scripted_api import running_scripted_api
from tests.kit.service import running_inside
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

UNKNOWN = "11111111-2222-3333-4444-555555555555"
GOOD_URL = "ws://127.0.0.1:9/"
Code = grpc.StatusCode


def _connect(**fields: Any) -> pb.ConnectRequest:
    return pb.ConnectRequest(**{"url": GOOD_URL, **fields})


def _reconnect(**fields: Any) -> pb.ConnectionOptions:
    return pb.ConnectionOptions(reconnect=pb.ReconnectOptions(**fields))


pytestmark = pytest.mark.usefixtures("plain_loop")

#: Method, request, and the field that the sentence must name.
MALFORMED: list[tuple[str, Any, str]] = [
    ("Connect", _connect(url=""), "url"),
    ("Connect", _connect(url="http://example.com/"), "url"),
    ("Connect", _connect(url="ws://"), "url"),
    ("Connect", _connect(url="not a url"), "url"),
    ("Connect", _connect(url="ws://127.0.0.1:99999/"), "url"),
    ("Connect", _connect(url="ws://127.0.0.1/#fragment"), "url"),
    ("Connect", _connect(url="ws://127.0.0.1/a b"), "url"),
    ("Connect", _connect(url="ws://127.0.0.1/\r\nX: y"), "url"),
    ("Connect", _connect(url="wss://exa\0mple.com/"), "url"),
    ("Connect", _connect(url="ws://127.0.0.1/" + "a" * 100_000), "url"),
    ("Connect", _connect(topic="a b"), "topic"),
    ("Connect", _connect(topic="a..b"), "topic"),
    ("Connect", _connect(topic="a.*"), "topic"),
    ("Connect", _connect(topic="a." + "b" * 300), "topic"),
    ("Connect", _connect(name="x" * 300), "name"),
    ("Connect", _connect(name="a\nb"), "name"),
    ("Connect", _connect(tags={"": "x"}), "tags"),
    ("Connect", _connect(tags={"k" * 129: "x"}), "tags"),
    ("Connect", _connect(tags={"k": "v" * 1025}), "tags"),
    ("Connect", _connect(tags={f"k{n}": "" for n in range(51)}), "tags"),
    ("Connect", _connect(options=_reconnect(base_delay_ms=-1)), "options.reconnect.base_delay_ms"),
    (
        "Connect",
        _connect(options=_reconnect(base_delay_ms=50, max_delay_ms=20)),
        "options.reconnect.max_delay_ms",
    ),
    ("Connect", _connect(options=_reconnect(first_dial=99)), "options.reconnect.first_dial"),
    (
        "Connect",
        _connect(options=pb.ConnectionOptions(format=cast("pb.Format", 99))),
        "options.format",
    ),
    (
        "Connect",
        _connect(options=pb.ConnectionOptions(max_message_bytes=-1)),
        "options.max_message_bytes",
    ),
    (
        "Connect",
        _connect(options=pb.ConnectionOptions(buffer=pb.BufferOptions(max_bytes=1))),
        "options.buffer.max_bytes",
    ),
    ("Disconnect", pb.DisconnectRequest(), "id"),
    ("Disconnect", pb.DisconnectRequest(id="one"), "id"),
    ("StartPublish", pb.StartPublishRequest(id="x", topic=""), "topic"),
    ("StartPublish", pb.StartPublishRequest(id=UNKNOWN, topic="a.>"), "topic"),
    ("StopPublish", pb.StopPublishRequest(id="../../etc/passwd"), "id"),
    ("Send", pb.SendRequest(id=UNKNOWN, timeout_ms=-1), "timeout_ms"),
    ("Send", pb.SendRequest(id=UNKNOWN, content_type="text"), "content_type"),
    ("Send", pb.SendRequest(id=UNKNOWN, message=b"\xff", content_type="text/plain"), "message"),
    ("SendRaw", pb.SendRawRequest(id="\u0661" * 36), "id"),
    ("SendRaw", pb.SendRawRequest(id=UNKNOWN, content_type="a/b/c"), "content_type"),
    ("SetTag", pb.SetTagRequest(id=UNKNOWN, key=""), "key"),
    ("SetTag", pb.SetTagRequest(id=UNKNOWN, key="k", value="v" * 1025), "value"),
    ("GetTag", pb.GetTagRequest(id=UNKNOWN, key="k\x07"), "key"),
    ("SetTags", pb.SetTagsRequest(id=UNKNOWN, tags={"": ""}), "tags"),
    ("List", pb.ListRequest(filters=[pb.TagFilter(key="", value="x")]), "filters[0].key"),
]


async def test_malformed_inputs_are_named_by_field_and_change_nothing() -> None:
    async with (
        running_scripted_api() as api,
        running_peer() as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        which = (await service.stub.Connect(pb.ConnectRequest(url=peer.url))).id
        await api.wait_published(2)
        before = len(api.calls)
        for method, request, field in MALFORMED:
            refused = await service.refused(method, request)
            assert refused.code is Code.INVALID_ARGUMENT, (method, field, refused)
            assert field in refused.message, (method, field, refused.message)
            assert refused.reason == "INVALID_ARGUMENT"
            assert refused.domain == "websocketmanager"
            assert field in refused.facts["fields"], (method, field, refused.facts)
            assert len(refused.message) <= 1000
        assert len(api.calls) == before, "nothing was written for a malformed call"
        assert set(await service.list()) == {which}
        reply = await service.stub.Send(pb.SendRequest(id=which, message=b"still here"))
        assert reply.response == b"still here"


async def test_all_faults_of_a_call_are_told_at_once() -> None:
    async with running_scripted_api() as api, running_inside(api.port) as service:
        await service.wait_ready()
        request = pb.ConnectRequest(url="x", topic="a b", name="\n", tags={"": ""})
        refused = await service.refused("Connect", request)
        assert {"url", "topic", "name"} <= set(refused.facts["fields"].split(","))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ws://10.0.0.1/", "10.0.0.1"),
        ("ws://127.0.0.1/", "127.0.0.1"),
        ("ws://[::1]/", "::1"),
        ("ws://169.254.169.254/latest", "169.254.169.254"),
        ("ws://[::ffff:127.0.0.3]/", "127.0.0.3"),
        ("ws://0.0.0.0/", "0.0.0.0"),
        ("ws://localhost/", "localhost"),
    ],
)
async def test_addresses_that_are_not_public_need_an_entry(url: str, host: str) -> None:
    async with running_scripted_api() as api, running_inside(api.port, allowed_hosts=()) as service:
        await service.wait_ready()
        before = len(api.calls)
        refused = await service.refused("Connect", pb.ConnectRequest(url=url))
        assert refused.code is Code.PERMISSION_DENIED, refused
        assert refused.reason == "ADDRESS_REFUSED"
        assert host in refused.message
        assert "AllowedHosts" in refused.message
        assert len(api.calls) == before


async def test_the_rest_of_the_table() -> None:
    async with (
        running_scripted_api() as api,
        running_peer(silent) as peer,
        running_inside(api.port, max_connections=2, api_timeout_ms=500) as service,
    ):
        await service.wait_ready()
        refused = await service.refused("Send", pb.SendRequest(id=UNKNOWN, message=b"x"))
        assert (refused.code, refused.reason) == (Code.NOT_FOUND, "CONNECTION_NOT_FOUND")
        assert refused.facts["connection_id"] == UNKNOWN

        named = pb.ConnectRequest(url=peer.url, name="n")
        which = (await service.stub.Connect(named)).id
        refused = await service.refused("GetTag", pb.GetTagRequest(id=which, key="missing"))
        assert (refused.code, refused.reason) == (Code.NOT_FOUND, "TAG_NOT_FOUND")
        assert "missing" in refused.message

        refused = await service.refused("Connect", pb.ConnectRequest(url=peer.url + "x", name="n"))
        assert (refused.code, refused.reason) == (Code.ALREADY_EXISTS, "NAME_IN_USE")
        assert refused.facts["fields"] == "url"

        send = pb.SendRequest(id=which, message=b"x", timeout_ms=50)
        refused = await service.refused("Send", send)
        assert (refused.code, refused.reason) == (Code.DEADLINE_EXCEEDED, "REPLY_TIMEOUT")

        with refusing_port() as port:
            request = pb.ConnectRequest(url=f"ws://127.0.0.1:{port}/?token=secret")
            refused = await service.refused("Connect", request)
        assert (refused.code, refused.reason) == (Code.UNAVAILABLE, "FIRST_DIAL_FAILED")
        assert refused.facts["error_type"] == "connect_refused"
        assert "secret" not in str(refused)
        assert len(await service.list()) == 1

        await service.stub.Connect(pb.ConnectRequest(url=peer.url))
        refused = await service.refused("Connect", pb.ConnectRequest(url=peer.url))
        assert (refused.code, refused.reason) == (Code.RESOURCE_EXHAUSTED, "LIMIT_REACHED")
        assert refused.facts["maximum"] == "2"
        assert len(peer.open_sessions) == 2

        peer.sessions[0].abort()  # it does not reconnect
        await service.wait_listed(which, lambda c: c.status == "disconnected")
        refused = await service.refused("SendRaw", pb.SendRawRequest(id=which, message=b"x"))
        assert (refused.code, refused.reason) == (Code.FAILED_PRECONDITION, "NOT_CONNECTED")
        assert refused.facts["status"] == "disconnected"

        await api.go_away()
        for method, call in (
            ("SetTag", pb.SetTagRequest(id=which, key="k", value="v")),
            ("Disconnect", pb.DisconnectRequest(id=which)),
            ("StartPublish", pb.StartPublishRequest(id=which, topic="a.b")),
        ):
            refused = await service.refused(method, call)
            assert (refused.code, refused.reason) == (Code.UNAVAILABLE, "API_UNAVAILABLE")
        tags = await service.stub.GetTags(pb.GetTagsRequest(id=which))
        assert tags.tags == {}, "what was not saved did not happen"
        await api.come_back()


async def test_more_pending_sends_than_allowed_are_refused() -> None:
    async with (
        running_scripted_api() as api,
        running_peer(silent) as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        which = (await service.stub.Connect(pb.ConnectRequest(url=peer.url))).id
        request = pb.SendRequest(id=which, message=b"x", timeout_ms=30_000)
        pending = [service.stub.Send(request) for _ in range(1024)]
        await peer.sessions[0].wait_received(1024)
        refused = await service.refused("Send", request)
        assert (refused.code, refused.reason) == (Code.RESOURCE_EXHAUSTED, "LIMIT_REACHED")
        peer.sessions[0].abort()
        ends = await asyncio.gather(*pending, return_exceptions=True)
        assert {end.code() if isinstance(end, grpc.aio.AioRpcError) else end for end in ends} == {
            Code.UNAVAILABLE
        }


async def test_a_burst_of_calls_is_served_whole() -> None:
    async with running_scripted_api() as api, running_inside(api.port) as service:
        await service.wait_ready()
        # gRPC itself turns calls away at random once a thousand wait, and all above three thousand.
        calls = [service.stub.List(pb.ListRequest()) for _ in range(3500)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [end for end in ends if isinstance(end, BaseException)] == []


async def test_a_key_that_the_api_does_not_accept_is_told_as_such() -> None:
    async with running_scripted_api() as api, running_peer() as peer:
        api.required_key = "right"
        async with running_inside(api.port, api_key="right") as service:
            await service.wait_ready()
            api.required_key = "another"
            refused = await service.refused("Connect", pb.ConnectRequest(url=peer.url))
            assert (refused.code, refused.reason) == (Code.UNAUTHENTICATED, "API_UNAUTHENTICATED")
            api.required_key = "right"
            await service.stub.Connect(pb.ConnectRequest(url=peer.url))
