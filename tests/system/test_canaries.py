"""Secrets are planted in every place that takes one; no output of the service holds any.

The server is indiscreet: it repeats all that it was told in refusals, close reasons and answers,
as it is and in the spellings that URLs and JSON have for it.
"""

from __future__ import annotations

import base64
import gc
import json
import ssl
import warnings
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, quote_plus

import grpc
import pytest

from tests.kit.certificates import authority, server_context
from tests.kit.peer import PeerSession, RawSession, running_peer, running_raw_peer
from tests.kit.proxy import HttpProxy, running_proxy
from tests.kit.scripted_api import ScriptedApi, running_scripted_api
from tests.kit.service import Service, ServiceProcess, running_inside, running_process
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.adapters.secrets import PREFIX
from websocketmanager.domain.model import Message

#: The middle of each is found in every spelling of it.
SECRETS = {
    name: f'{name}4canary/+="{number}é' if name != "HEADER" else f"{name}4canary/+={number}"
    for number, name in enumerate(
        ("USER", "QUERY", "HEADER", "DIALOGUE", "SIGNING", "SUBSCRIPTION", "HEARTBEAT", "PROXY")
    )
}
CLIENT = authority().issue_cert("client@feed.test")
KEY = CLIENT.private_key_pem.bytes().decode()
SECRETS["PRIVATE"] = KEY
#: What must not be found anywhere.
CANARIES = [f"{name}4canary" for name in SECRETS if name != "PRIVATE"] + KEY.split("\n")[1:-2]
#: Written by the caller in plain text: kept in the record to dial with, and shown nowhere.
PLAIN = "PLAIN4canary"

AGAIN = pb.ReconnectOptions(first_dial=pb.FIRST_DIAL_RETRY)
POINTER = pb.Pattern(pointer="/ok")


def everything(proxy_url: str) -> pb.ConnectionOptions:
    """Returns options that use every secret."""
    return pb.ConnectionOptions(
        reconnect=AGAIN,
        markers=True,
        handshake=pb.HandshakeOptions(
            headers=[pb.Header(name="X-Key", value="${secret:HEADER}")],
            proxy=proxy_url,
            tls=pb.TlsOptions(
                ca_pem=authority().cert_pem.bytes().decode(),
                certificate_pem=CLIENT.cert_chain_pems[0].bytes().decode(),
                key_pem="${secret:PRIVATE}",
            ),
        ),
        opening=pb.Opening(
            steps=[
                pb.Step(
                    send=pb.Payload(
                        text='{"key":"${json(secret:DIALOGUE)}",'
                        '"sign":"${hex(hmac.sha256(secret:SIGNING, nonce))}"}'
                    ),
                    expect=POINTER,
                )
            ],
            refusals=[
                pb.RefusalRule(
                    pattern=pb.Pattern(regex="^refused"), advice=pb.ADVICE_AGAIN, name="no"
                )
            ],
        ),
        subscriptions=[
            pb.Subscription(
                key="all", subscribe=pb.Payload(text='{"sub":"${json(secret:SUBSCRIPTION)}"}')
            )
        ],
        liveness=pb.Liveness(
            heartbeat=pb.ApplicationHeartbeat(
                send=pb.Payload(text="beat ${secret:HEARTBEAT}"), interval_ms=100
            )
        ),
    )


def gossip(name: str) -> list[str]:
    """Returns a secret in all the spellings that a server may repeat."""
    value = SECRETS[name]
    return [
        value,
        quote(value),
        quote(value, safe=""),
        quote_plus(value),
        json.dumps(value),
        json.dumps(value, ensure_ascii=False),
        json.dumps(value).replace("/", "\\/"),
    ]


NAMES = [name for name in SECRETS if name != "PRIVATE"]


class Indiscreet:
    """Lets everybody in, and then ends each session in another way.

    Attributes:
        told: everything that it was told, by session.
        refuses: whether it lets nobody in from now on.
    """

    def __init__(self) -> None:
        self.told: list[str] = []
        self.refuses = False

    async def __call__(self, session: PeerSession) -> None:
        number = len(self.told)
        self.told.append("")
        self.told[number] += session.path + json.dumps(session.headers)
        login = await session.recv()
        if self.refuses or number % 3 == 0:
            words = " ".join(gossip(NAMES[number // 3 % len(NAMES)]))
            await session.send(f"refused {words}".encode())
            return
        await session.send(b'{"ok":1}')
        subscription, beat = await session.recv(), await session.recv()
        for message in (login, subscription, beat):
            self.told[number] += message.data.decode()
        await session.send(b'{"data":1}')
        reasons = [reason for name in NAMES for reason in gossip(name)]
        reason = reasons[number % len(reasons)]
        await session.close(4000 + number % 100, reason)


async def rejecting(session: RawSession) -> None:
    request = await session.read_request()
    heard = f"{request.line} {json.dumps(request.headers)} "
    words = heard + " ".join(word for name in NAMES for word in gossip(name))
    await session.respond(403, f"X-Why: {quote(words)}", body=words.encode())


async def swear(service: Service, api: ScriptedApi) -> list[bytes]:
    """Uses every secret in every way; returns what callers were told."""
    outputs: list[bytes] = []
    behaviour = Indiscreet()
    context = server_context("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(context)
    async with running_peer(behaviour, tls=context) as peer, running_raw_peer(rejecting) as raw:
        proxy = HttpProxy({"127.0.0.1": peer.port}, user="me", password=SECRETS["PROXY"])
        async with running_proxy("http", proxy) as (_, proxy_url):
            options = everything(proxy_url.replace("://", "://me:${secret:PROXY}@"))
            url = f"{peer.url}feed?token=${{secret:QUERY}}".replace("://", "://me:${secret:USER}@")
            request = pb.ConnectRequest(
                url=url, name="all", topic="a.b", auto_reconnect=True, options=options
            )
            outputs.append((await service.stub.Connect(request)).SerializeToString())
            await peer.wait_session(50)
            outputs += [one.SerializeToString() for one in (await service.list()).values()]
            # The same name with other options: the difference is told.
            request.options.handshake.headers[0].value = "other"
            outputs.append(repr(await service.refused("Connect", request)).encode())
            request.name = "once"
            request.auto_reconnect = False
            request.options.CopyFrom(everything(""))
            request.options.reconnect.Clear()
            request.options.liveness.Clear()
            behaviour.refuses = True
            outputs.append(repr(await service.refused("Connect", request)).encode())
            (which,) = await service.list()
            await service.stub.Disconnect(pb.DisconnectRequest(id=which))
        for place in ("?token=${secret:QUERY}", f"?token={PLAIN}", f"v1/{PLAIN}aA1bB2cC3dD4eE5"):
            rejected = pb.ConnectRequest(
                url=(raw.url + place).replace("://", f"://me:{PLAIN}@"),
                options=pb.ConnectionOptions(
                    handshake=pb.HandshakeOptions(
                        headers=[pb.Header(name="X-Key", value="${secret:HEADER}")]
                    ),
                ),
            )
            outputs.append(repr(await service.refused("Connect", rejected)).encode())
            rejected.options.handshake.headers[0].value = "bad\n${secret:NOPE"
            outputs.append(repr(await service.refused("Connect", rejected)).encode())
        missing = pb.ConnectRequest(
            url=f"{raw.url}?a=${{secret:QUERY}}&b=${{secret:NOWHERE}}", options=None
        )
        refused = await service.refused("Connect", missing)
        assert refused.code is grpc.StatusCode.UNAVAILABLE
        assert "NOWHERE" in refused.message, "the name may be told"
        outputs.append(repr(refused).encode())
    told = "".join(behaviour.told)
    for canary in ("QUERY", "HEADER", "DIALOGUE", "SUBSCRIPTION", "HEARTBEAT"):
        assert f"{canary}4canary" in told, "the server was not told"
    assert base64.b64encode(f"me:{SECRETS['USER']}".encode()).decode() in told
    for path in ("/metrics", "/health/ready", "/health/live"):
        outputs.append((await service.get(path)).body)
    return outputs


def found(outputs: Iterable[bytes], canaries: Iterable[str] = CANARIES) -> list[str]:
    """Returns where canaries are, with what stands around them."""
    return [
        output[max(output.find(canary.encode()) - 80, 0) :][:200].decode(errors="replace")
        for output in outputs
        for canary in canaries
        if canary.encode() in output
    ]


def published(api: ScriptedApi) -> list[bytes]:
    return [repr(event).encode() + event.data for event in api.published]


async def test_secrets_of_the_environment_are_in_no_output_of_a_process() -> None:
    environ = {PREFIX + name: value for name, value in SECRETS.items()}
    async with (
        running_scripted_api() as api,
        running_process(
            api.port,
            environ=environ,
            log_level="debug",
            reconnect_base_delay_ms=1,
            max_reconnect_delay_ms=2,
        ) as service,
    ):
        await service.wait_ready()
        outputs = await swear(service, api)
        assert isinstance(service, ServiceProcess)
        service.terminate()
        await service.wait_exit()
        log = [json.dumps(line, ensure_ascii=False).encode() for line in service.log]
        log += [line.encode() for line in service.said]
        assert any(b"server_refused" in line for line in log), "the log tells failures"
        calls = [str(call).encode() for call in api.calls]
        assert any(b"secret:DIALOGUE" in call for call in calls), "records name secrets"
        events = published(api)
        assert any(b"server_refused" in event for event in events)
        assert any(b"***" in event for event in events), "the server's words are told, scrubbed"
        assert found([*outputs, *log, *events, *calls]) == []
        assert found([*outputs, *log, *events], [PLAIN]) == []


@pytest.mark.usefixtures("plain_loop")
async def test_secrets_of_a_folder_are_in_no_repr(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in SECRETS.items():
        (tmp_path / name).write_text(value)
    async with (
        running_scripted_api() as api,
        running_inside(
            api.port,
            secrets_folder=str(tmp_path),
            reconnect_base_delay_ms=1,
            max_reconnect_delay_ms=2,
        ) as service,
    ):
        await service.wait_ready()
        caplog.set_level(0)
        outputs = await swear(service, api)
        shown = [text.encode() for text in _reprs()]
        assert len(shown) > 1000
        log = [
            record.getMessage().encode()
            for record in caplog.records
            if record.name != "websockets.server"  # the peer's
        ]
        assert found([*outputs, *log, *published(api), *shown]) == []
        assert found([*outputs, *log, *published(api)], [PLAIN]) == []


def _reprs() -> Iterable[str]:
    """Yields the repr of every object of ours that is alive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = [
            one
            for one in gc.get_objects()
            if str(type(one).__module__).startswith("websocketmanager.")
            and not isinstance(one, Message)  # those that the peer received
        ]
    for one in ours:
        try:
            yield repr(one)
        except AttributeError:
            continue  # half made
