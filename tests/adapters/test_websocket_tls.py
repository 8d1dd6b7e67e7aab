"""TLS of one connection: whom it trusts, what it presents, which name it wants, what it keeps."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import trustme

from tests.kit.certificates import authority, client_context, server_context
from tests.kit.opening import dialer, failure_of, opened_by, resolving, target
from tests.kit.peer import echo, running_peer, silent
from websocketmanager.adapters.websocket.tls import TlsContexts, TlsTextUnusable, make_context
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.model import Kind
from websocketmanager.domain.options import TlsOptions

pytestmark = pytest.mark.usefixtures("engine")

OTHER_CA = trustme.CA()
CLIENT_CA = trustme.CA()
KNOWN = resolving(feed_test=["127.0.0.1"])


def pem(ca: trustme.CA) -> str:
    return ca.cert_pem.bytes().decode()


def client_tls(ca: trustme.CA = CLIENT_CA, server_name: str = "") -> TlsOptions:
    """Trusts the peers' authority and presents a certificate of this one."""
    leaf = ca.issue_cert("client@feed.test")
    chain = "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems)
    key = leaf.private_key_pem.bytes().decode()
    return TlsOptions(pem(authority()), chain, key, server_name)


def demanding_context() -> ssl.SSLContext:
    """A server's context that wants a certificate of CLIENT_CA."""
    context = server_context("feed.test")
    context.verify_mode = ssl.CERT_REQUIRED
    CLIENT_CA.configure_trust(context)
    return context


# --- whom it trusts ------------------------------------------------------------------------------


async def test_a_connections_own_authority_is_trusted() -> None:
    # The dialer itself trusts the system's authorities only.
    bundle = f"Comment: Főtanúsítvány\n{pem(OTHER_CA)}\n\n{pem(authority())}"
    async with running_peer(echo, tls=server_context("feed.test")) as peer:
        url = f"wss://feed.test:{peer.port}/"
        dial = dialer(resolver=KNOWN)
        async with opened_by(dial, target(url, tls=TlsOptions(ca_pem=bundle))) as session:
            await session.send(b"x", Kind.TEXT)
            assert (await session.recv()).data == b"x"
        assert (await failure_of(dial.dial(target(url)))).kind is FailureKind.TLS_FAILED


async def test_it_replaces_every_other() -> None:
    async with running_peer(silent, tls=server_context("feed.test")) as peer:
        dial = dialer(resolver=KNOWN, tls=client_context())
        tls = TlsOptions(ca_pem=pem(OTHER_CA))
        dialled = target(f"wss://feed.test:{peer.port}/", tls=tls)
        failure = await failure_of(dial.dial(dialled))
        assert failure.kind is FailureKind.TLS_FAILED
        assert "certificate that is not accepted" in failure.message
        assert peer.sessions == []


# --- which name it wants -------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["feed.test", "feed.test.", "FEED.test"])
async def test_the_servers_name_may_differ_from_the_urls(wanted: str) -> None:
    names: list[str | None] = []
    server = server_context("feed.test")
    server.sni_callback = lambda _, name, __: names.append(name)
    async with running_peer(silent, tls=server) as peer:
        tls = TlsOptions(pem(authority()), server_name=wanted)
        async with opened_by(dialer(), target(peer.url, tls=tls)):
            # The Host header stays the URL's.
            asked = await peer.wait_session()
            assert asked.headers["host"] == f"127.0.0.1:{peer.port}"
    assert [(name or "").lower() for name in names] == ["feed.test"]


async def test_another_name_than_the_certificates_is_refused() -> None:
    async with running_peer(silent, tls=server_context("feed.test")) as peer:
        url = f"wss://feed.test:{peer.port}/"
        tls = TlsOptions(pem(authority()), server_name="other.test")
        failure = await failure_of(dialer(resolver=KNOWN).dial(target(url, tls=tls)))
        assert failure.kind is FailureKind.TLS_FAILED
        assert "ostname mismatch" in failure.message
        # The name also stands without texts of one's own.
        dial = dialer(resolver=KNOWN, tls=client_context())
        tls = TlsOptions(server_name="other.test")
        assert (await failure_of(dial.dial(target(url, tls=tls)))).kind is FailureKind.TLS_FAILED
        assert peer.sessions == []


async def test_an_address_may_be_the_name() -> None:
    async with running_peer(silent, tls=server_context("127.0.0.1")) as peer:
        url = f"wss://feed.test:{peer.port}/"
        tls = TlsOptions(pem(authority()), server_name="127.0.0.1")
        async with opened_by(dialer(resolver=KNOWN), target(url, tls=tls)):
            await peer.wait_session()


# --- what it presents ----------------------------------------------------------------------------


async def test_a_certificate_is_presented_to_a_server_that_wants_one() -> None:
    async with running_peer(echo, tls=demanding_context()) as peer:
        url = f"wss://feed.test:{peer.port}/"
        async with opened_by(dialer(resolver=KNOWN), target(url, tls=client_tls())) as session:
            shown = (await peer.wait_session()).connection.transport.get_extra_info("peercert")
            assert ("email", "client@feed.test") in shown["subjectAltName"]
            await session.send(b"x", Kind.TEXT)
            assert (await session.recv()).data == b"x"


@contextmanager
def strict_server(version: ssl.TLSVersion) -> Iterator[int]:
    """Gives the port of a server that says why it refuses; one of asyncio's hangs up instead."""
    context = demanding_context()
    context.maximum_version = version

    def serve() -> None:
        raw, _ = listener.accept()
        with raw, raw.dup() as rest, suppress(OSError):
            try:
                context.wrap_socket(raw, server_side=True)
            except ssl.SSLError:
                # Unread bytes would turn the end into a reset, which overtakes the alert.
                while rest.recv(4096):
                    pass

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("tls", [TlsOptions(pem(authority())), client_tls(OTHER_CA)])
async def test_none_or_a_wrong_one_is_a_failure_of_tls(
    tls: TlsOptions, version: ssl.TLSVersion
) -> None:
    with strict_server(version) as port:
        dialled = target(f"wss://feed.test:{port}/", tls=tls)
        failure = await failure_of(dialer(resolver=KNOWN).dial(dialled))
    assert failure.kind is FailureKind.TLS_FAILED
    assert "failed in TLS" in failure.message


BROKEN = "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n"
BROKEN_KEY = "-----BEGIN PRIVATE KEY-----\nhunter2=\n-----END PRIVATE KEY-----\n"
GOOD = client_tls()
#: A key of another certificate.
STRANGE = client_tls()


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        (TlsOptions(ca_pem=BROKEN), "tls.ca_pem cannot be read"),
        (TlsOptions("", BROKEN, GOOD.key_pem), "cannot be used together"),
        (TlsOptions("", GOOD.certificate_pem, BROKEN_KEY), "cannot be used together"),
        (TlsOptions("", GOOD.certificate_pem, STRANGE.key_pem), "cannot be used together"),
    ],
)
async def test_texts_that_openssl_cannot_use_are_a_failure(tls: TlsOptions, words: str) -> None:
    async with running_peer(silent, tls=server_context("127.0.0.1")) as peer:
        failure = await failure_of(dialer().dial(target(peer.url, tls=tls)))
        assert failure.kind is FailureKind.TLS_FAILED
        assert words in failure.message
        assert "hunter2" not in failure.message


# --- what it keeps -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tls", [GOOD, TlsOptions(pem(OTHER_CA)), TlsOptions("", *(GOOD.certificate_pem, GOOD.key_pem))]
)
def test_every_context_verifies(tls: TlsOptions) -> None:
    context = make_context(tls)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    # Without an authority of one's own there are those of the system, else no other.
    count = context.cert_store_stats()["x509_ca"]
    assert (count == 1) if tls.ca_pem else (count != 1)


async def test_equal_texts_share_a_context_and_only_some_are_kept() -> None:
    default = ssl.create_default_context()
    contexts = TlsContexts(default, max_contexts=2)
    one, two, three = (TlsOptions(pem(trustme.CA())) for _ in range(3))
    assert await contexts.context(TlsOptions(server_name="x")) is default
    first, again, other = await asyncio.gather(
        *map(contexts.context, (one, TlsOptions(one.ca_pem, server_name="x"), two))
    )
    assert first is again
    assert other is not first
    assert await contexts.context(one) is first
    await contexts.context(three)  # the one used longest ago makes room: two
    assert await contexts.context(one) is first
    assert await contexts.context(two) is not other
    with pytest.raises(TlsTextUnusable):
        await contexts.context(TlsOptions(BROKEN))
    # A key is part of what is compared.
    changed = TlsOptions(GOOD.ca_pem, GOOD.certificate_pem, STRANGE.key_pem)
    await contexts.context(GOOD)
    with pytest.raises(TlsTextUnusable):
        await contexts.context(changed)


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_no_key_is_left_anywhere(
    platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("websocketmanager.adapters.websocket.tls.sys.platform", platform)
    open_files = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names, not paths
    make_context(GOOD)
    with pytest.raises(TlsTextUnusable):
        make_context(TlsOptions("", GOOD.certificate_pem, BROKEN_KEY))
    assert list(tmp_path.iterdir()) == []
    assert set(os.listdir("/proc/self/fd")) == open_files  # noqa: PTH208
