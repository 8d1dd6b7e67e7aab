"""What the peer says is what the topic gets: bytes and kind, at every length and boundary."""

from __future__ import annotations

import grpc
import pytest

from tests.kit.peer import running_peer
from tests.kit.scripted_api import running_scripted_api
from tests.kit.service import running_inside
from tests.system.evidence import messages
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

TEXT, BINARY = "text/plain", "application/octet-stream"
LENGTHS = (0, 1, 125, 126, 127, 65535, 65536, 1024 * 1024)
#: The first and last code points of each length in UTF-8, and what stands beside the surrogates.
BOUNDARIES = "\0\x7f\x80\u07ff\u0800\ud7ff\ue000\ufffd\uffff\U00010000\U0010ffff"
#: RFC 3629: overlong forms, surrogates, beyond the last code point, cut short, stray bytes.
INVALID_UTF8 = (
    b"\x80",
    b"\xbf",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xc2",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"valid then \xf0\x9f\x98",
)


def _cases() -> list[tuple[bytes, str, str]]:
    """Returns data, the content type asked for, and the one to be seen."""
    cases = [(b"a" * length, TEXT, TEXT) for length in LENGTHS]
    cases += [(bytes(n % 251 for n in range(length)), BINARY, BINARY) for length in LENGTHS]
    for text in BOUNDARIES:
        cases += [(text.encode(), TEXT, TEXT), (text.encode(), "", TEXT)]
        cases += [(text.encode(), BINARY, BINARY), (text.encode(), "application/json", TEXT)]
    cases += [(data, BINARY, BINARY) for data in INVALID_UTF8]
    cases += [(data, "", BINARY) for data in INVALID_UTF8]
    cases += [
        (b"", "", TEXT),
        (b"{}", "text/html; charset=utf-8", TEXT),
        (b"x", "image/png", BINARY),
    ]
    return cases


async def test_every_message_comes_back_as_it_was_sent() -> None:
    async with (
        running_scripted_api() as api,
        running_peer() as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        request = pb.ConnectRequest(url=peer.url, topic="marketdata.echo")
        which = (await service.stub.Connect(request)).id
        cases = _cases()
        for data, content_type, _ in cases:
            await service.stub.SendRaw(
                pb.SendRawRequest(id=which, message=data, content_type=content_type)
            )
        delivered = messages(await api.wait_published(len(cases), "marketdata.echo"))
    assert len(delivered) == len(cases)
    for (data, _, kind), message in zip(cases, delivered, strict=True):
        assert message.data == data
        assert message.content_type == kind
    assert [message.sequence for message in delivered] == [*range(1, len(cases) + 1)]


@pytest.mark.parametrize("method", ["Send", "SendRaw"])
async def test_text_that_is_not_utf8_is_refused_and_nothing_is_sent(method: str) -> None:
    async with (
        running_scripted_api() as api,
        running_peer() as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        which = (await service.stub.Connect(pb.ConnectRequest(url=peer.url))).id
        kind = pb.SendRequest if method == "Send" else pb.SendRawRequest
        for data in INVALID_UTF8:
            request = kind(id=which, message=data, content_type="text/plain; charset=utf-8")
            refused = await service.refused(method, request)
            assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
            assert "message" in refused.message
        await service.stub.SendRaw(pb.SendRawRequest(id=which, message=b"last"))
        assert (await peer.sessions[0].wait_received(1)).data == b"last"


async def test_a_correlated_text_send_is_legal_text_and_its_reply_exact() -> None:
    async with (
        running_scripted_api() as api,
        running_peer() as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        which = (await service.stub.Connect(pb.ConnectRequest(url=peer.url, topic="a.b"))).id
        for data, kind, _ in _cases():
            request = pb.SendRequest(id=which, message=data, content_type=kind)
            assert (await service.stub.Send(request)).response == data
        # websockets refuses text that is not UTF-8: the session would be gone.
        assert len(peer.open_sessions) == 1
        statistics = (await service.list())[which].statistics
        assert statistics.messages_published == statistics.buffered_messages == 0
