"""What an observer of a dial is told, and that a dial that fails tells nothing of its failure."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.kit import certificates
from tests.kit.opening import dialer, failure_of, resolving, target
from tests.kit.peer import refusing_port, running_peer, running_raw_peer, silent
from tests.kit.proxy import make_proxy, running_proxy
from tests.kit.raw_peer import RawSession
from websocketmanager.adapters.websocket import WebSocketDialer
from websocketmanager.adapters.websocket.telling import tls_facts
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.options import Compression
from websocketmanager.domain.trial import Phase
from websocketmanager.domain.url_policy import AddressPolicy
from websocketmanager.ports import DialTarget

#: The name that a proxy may resolve, and where everything is.
NAMING = AddressPolicy.of(["feed.test", "127.0.0.0/8"])


class Notes:
    """A `ports.DialObserver` that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Phase, str]] = []

    def passed(self, phase: Phase, detail: str) -> None:
        self.told.append((phase, detail))

    @property
    def phases(self) -> list[Phase]:
        return [phase for phase, _ in self.told]


async def test_each_phase_with_what_was_found() -> None:
    tls = certificates.server_context("feed.test")
    async with running_peer(silent, tls=tls, subprotocols=("v2",), compression="deflate") as peer:
        notes = Notes()
        dial = dialer(
            tls=certificates.client_context(), resolver=resolving(feed_test=["127.0.0.1"])
        )
        url = peer.url.replace("127.0.0.1", "feed.test")
        wanted = target(url, subprotocols=("v1", "v2"), compression=Compression.DEFLATE)
        session = await dial.dial(wanted, notes)
        session.abort()
    found = dict(notes.told)
    assert notes.phases == [Phase.RESOLVE, Phase.POLICY, Phase.TCP, Phase.TLS, Phase.HANDSHAKE]
    assert found[Phase.RESOLVE] == "127.0.0.1"
    assert found[Phase.TCP] == f"127.0.0.1:{peer.port}"
    assert found[Phase.TLS].startswith("TLSv1.3, ")
    assert "certificate of feed.test, valid until " in found[Phase.TLS]
    assert found[Phase.TLS].endswith(" GMT")
    assert found[Phase.HANDSHAKE] == "subprotocol v2, extensions permessage-deflate"


async def test_without_tls_name_and_offers() -> None:
    async with running_peer(silent) as peer:
        notes = Notes()
        session = await dialer().dial(target(peer.url), notes)
        session.abort()
    assert notes.told == [
        (Phase.RESOLVE, "127.0.0.1"),
        (Phase.POLICY, "allowed"),
        (Phase.TCP, f"127.0.0.1:{peer.port}"),
        (Phase.HANDSHAKE, "subprotocol none, extensions none"),
    ]


@pytest.mark.parametrize(
    ("scheme", "phases"),
    [
        ("http", [Phase.RESOLVE, Phase.POLICY, Phase.PROXY, Phase.HANDSHAKE]),
        ("socks5", [Phase.RESOLVE, Phase.POLICY, Phase.PROXY, Phase.HANDSHAKE]),
        ("socks5h", [Phase.POLICY, Phase.PROXY, Phase.HANDSHAKE]),
    ],
)
async def test_a_proxy_takes_the_place_of_tcp(scheme: str, phases: list[Phase]) -> None:
    async with running_peer(silent) as peer:
        routes = {"feed.test": peer.port, "127.0.0.1": peer.port}
        proxy = make_proxy(scheme, routes, user="user", password="s3cret")
        async with running_proxy(scheme, proxy) as (_, url):
            notes = Notes()
            dial = dialer(policy=NAMING, resolver=resolving(feed_test=["127.0.0.1"]))
            through = url.replace("://", "://user:s3cret@")
            session = await dial.dial(target("ws://feed.test/", proxy=through), notes)
            session.abort()
    assert notes.phases == phases
    assert dict(notes.told)[Phase.PROXY].endswith(f" through the proxy {url}")
    assert "s3cret" not in str(notes.told)


async def rejecting(session: RawSession) -> None:
    await session.read_request()
    await session.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")


async def test_a_dial_that_fails_tells_what_went_well_before() -> None:
    seen: dict[FailureKind, list[Phase]] = {}

    async def note(dial: WebSocketDialer, wanted: DialTarget) -> None:
        notes = Notes()
        failure = await failure_of(dial.dial(wanted, notes))
        seen[failure.kind] = notes.phases

    async def unknown(host: str) -> list[str]:
        raise OSError("no such name")

    await note(dialer(resolver=unknown), target("ws://feed.test/"))
    nowhere = AddressPolicy.of([])
    loopback = resolving(feed_test=["127.0.0.1"])
    await note(dialer(policy=nowhere, resolver=loopback), target("ws://feed.test/"))
    with refusing_port() as port:
        await note(dialer(), target(f"ws://127.0.0.1:{port}/"))
    async with running_peer(silent, tls=certificates.server_context("other.test")) as peer:
        trusting = dialer(tls=certificates.client_context())
        await note(trusting, target(peer.url))
    async with running_raw_peer(rejecting) as raw:
        await note(dialer(), target(raw.url))
    resolved = [Phase.RESOLVE, Phase.POLICY]
    assert seen == {
        FailureKind.DNS_FAILED: [],
        FailureKind.ADDRESS_REFUSED: [Phase.RESOLVE],
        FailureKind.CONNECT_REFUSED: resolved,
        FailureKind.TLS_FAILED: [*resolved, Phase.TCP],
        FailureKind.HANDSHAKE_REJECTED: [*resolved, Phase.TCP],
    }


@pytest.mark.parametrize(
    ("certificate", "name"),
    [
        ({"subject": ((("commonName", "a"),),), "subjectAltName": (("DNS", "b"),)}, "a"),
        ({"subject": (), "subjectAltName": (("DNS", "b"), ("DNS", "c"))}, "b"),
        ({"subject": ((("organizationName", "o"),),)}, "o"),
        ({}, "nobody"),
        ({"subject": ((("commonName", "a\x1b[2J" + "x" * 200),),)}, "a?[2J" + "x" * 94 + "…"),
    ],
)
def test_whose_certificate_it_is(certificate: dict[str, Any], name: str) -> None:
    class Tls:
        def cipher(self) -> None:
            return None

        def version(self) -> str:
            return "TLSv1.3"

    facts = {"ssl_object": Tls(), "peercert": certificate}
    words = tls_facts(asyncio.BaseTransport(facts))
    assert words == f"TLSv1.3, certificate of {name}, valid until an unknown time"
