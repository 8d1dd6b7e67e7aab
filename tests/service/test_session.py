"""One socket's life on scripted sockets: opening dialogue, refusals, secrets.

`test_session_subscriptions.py` and `test_session_detectors.py` hold the rest.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.quiet import let_time_pass, wait_quiet
from tests.kit.sockets import ScriptedSocket
from tests.service.house import World, data_of, running_house, spec_of
from tests.service.sessions import (
    LOGIN,
    LOGIN_OK,
    SECRET,
    advance,
    entered,
    errors,
    login_spec,
    reconnected,
    said,
    status,
    with_key,
)
from websocketmanager.domain.facts import AttemptFailed
from websocketmanager.domain.failure import Failure, FailureKind, SocketFailed
from websocketmanager.domain.model import BufferOptions, FirstDial, Kind, Status
from websocketmanager.domain.options import (
    ApplicationHeartbeat,
    HandshakeOptions,
    Header,
    Liveness,
    Match,
    Opening,
    Pattern,
    Payload,
    RefusalRule,
    Step,
    Subscription,
    TlsOptions,
)
from websocketmanager.domain.retry import Advice
from websocketmanager.errors import ConnectionEnded, FirstDialFailed

DENIED = Pattern(Match.POINTER, pointer="/login", value='"no"')

# --- dialogue -------------------------------------------------------------------------------------


async def test_connected_only_after_the_dialogue() -> None:
    world = with_key()
    async with running_house(world) as house:
        entry = await entered(house, login_spec())
        socket = house.dialer.sockets[0]
        await house.settle()
        assert said(socket) == [f'{{"key":"{SECRET}"}}']
        assert status(entry) is Status.CONNECTING
        assert world.states() == ["connecting"]
        socket.push('{"login":"ok"}')
        await house.settle()
        assert status(entry) is Status.CONNECTED
        assert world.states() == ["connecting", "connected"]
        assert world.messages() == [], "the reply belongs to the dialogue"


async def test_steps_go_in_order_and_each_waits_for_its_own_answer() -> None:
    world = World()
    steps = (
        Step(expect=Pattern(Match.REGEX, regex="^hello")),
        Step(send=Payload("one")),
        Step(send=Payload(binary=b"\x02"), expect=Pattern(frame=Kind.BINARY)),
        Step(send=Payload("three"), expect=Pattern(Match.REGEX, regex="3")),
    )
    async with running_house(world) as house:
        entry = await entered(house, login_spec(*steps))
        socket = house.dialer.sockets[0]
        assert said(socket) == []
        socket.push("hello")
        await wait_quiet()
        assert said(socket) == ["one", "\x02"]
        assert [message.kind for message in socket.sent] == [Kind.TEXT, Kind.BINARY]
        socket.push("3", "\x02")  # an answer before its question, and Text where Binary is wanted
        await wait_quiet()
        assert said(socket) == ["one", "\x02"]
        socket.push(b"\x02")
        await wait_quiet()
        assert said(socket) == ["one", "\x02", "three"]
        assert status(entry) is Status.CONNECTING
        socket.push("33")
        await wait_quiet()
        assert status(entry) is Status.CONNECTED


async def test_what_comes_in_between_is_delivered_in_order_and_replies_are_not() -> None:
    world = World()
    steps = (
        Step(expect=Pattern(Match.REGEX, regex="^a")),
        Step(expect=Pattern(Match.REGEX, regex="^b"), forward=True),
        Step(expect=Pattern(Match.REGEX, regex="^c")),
    )
    async with running_house(world) as house:
        await entered(house, login_spec(*steps))
        house.dialer.sockets[0].push("1", "a", "2", "b", "3", "c", "4")
        await house.settle()
        assert world.messages() == [b"1", b"2", b"b", b"3", b"4"]
        sequences = [
            int(event.metadata["ce-sequence"])
            for event in world.sink.events
            if event.route.is_message
        ]
        assert sequences == [1, 2, 3, 4, 5]
        assert {int(one.metadata["ce-session"]) for one in world.sink.events[-5:]} == {1}


async def test_the_dialogue_is_said_anew_in_every_session() -> None:
    world = World()
    world.secrets.values.update(KEY="old", SIGN="signing-key")
    text = (
        '{"key":"${secret:KEY}","at":"${time.ms}","nonce":"${nonce}",'
        '"sign":"${hex(hmac.sha256(secret:SIGN, time.ms))}"}'
    )
    step = Step(send=Payload(text), expect=LOGIN_OK)
    async with running_house(world) as house:
        await entered(house, login_spec(step))
        house.dialer.sockets[0].push('{"login":"ok"}')
        await wait_quiet()
        world.secrets.values["KEY"] = "new"
        house.dialer.sockets[0].lose()
        second = await reconnected(house, 2)
        assert world.states()[-1] != "connected"
        second.push('{"login":"ok"}')
        await house.settle()
        assert world.states()[-1] == "connected"
        one, two = (json.loads(socket.sent[0].data) for socket in house.dialer.sockets)
        assert (one["key"], two["key"]) == ("old", "new")
        assert int(two["at"]) > int(one["at"]) == 1_700_000_000_000
        assert one["nonce"] != two["nonce"]
        for login in (one, two):
            wanted = hmac.digest(b"signing-key", login["at"].encode(), "sha256").hex()
            assert login["sign"] == wanted


async def test_headers_url_proxy_and_tls_are_evaluated_anew_for_each_dial() -> None:
    world = World()
    names = ("USER", "QUERY", "HEADER", "PROXY", "CA", "CERTIFICATE", "PRIVATE")
    world.secrets.values.update({name: f"{name.lower()}+1" for name in names})
    handshake = HandshakeOptions(
        headers=(Header("Authorization", "Bearer ${secret:HEADER}"), Header("At", "${time.ms}")),
        proxy="http://u:${secret:PROXY}@proxy.test:8080",
        tls=TlsOptions("${secret:CA}", "${secret:CERTIFICATE}", "${secret:PRIVATE}", "other.test"),
    )
    url = "wss://u:${secret:USER}@feed.test/stream?key=${secret:QUERY}"
    async with running_house(world) as house:
        spec = spec_of(url=url, first_dial=FirstDial.RETRY, handshake=handshake)
        await entered(house, spec)
        await house.settle()
        assert errors(world) == []
        world.secrets.values.update({name: f"{name.lower()}+2" for name in names})
        house.dialer.sockets[0].lose()
        await reconnected(house, 2)
        for number, target in enumerate(house.dialer.targets, 1):
            assert target.url == f"wss://u:user%2B{number}@feed.test/stream?key=query%2B{number}"
            assert target.proxy == f"http://u:proxy%2B{number}@proxy.test:8080"
            assert target.headers[0] == ("Authorization", f"Bearer header+{number}")
            assert target.tls == TlsOptions(
                f"ca+{number}", f"certificate+{number}", f"private+{number}", "other.test"
            )
        times = [int(target.headers[1][1]) for target in house.dialer.targets]
        assert times[0] == 1_700_000_000_000 < times[1]


async def test_a_step_without_answer_fails_the_attempt_in_time() -> None:
    world = with_key()
    async with running_house(world) as house:
        entry = await entered(house, login_spec())
        socket = house.dialer.sockets[0]
        socket.push("something else")
        await advance(house, 4.9)
        assert errors(world) == []
        await advance(house, 0.2)
        assert socket.aborted
        await house.settle()
        assert errors(world)[0] == ("dialogue_timeout", "step 1: no answer within 5 s")
        assert status(entry) is Status.RECONNECTING
        assert "connected" not in world.states()
        second = await reconnected(house, 2)
        second.push('{"login":"ok"}')
        await house.settle()
        assert world.states()[-1] == "connected"


async def test_chatter_does_not_put_the_answer_off() -> None:
    world = with_key()
    async with running_house(world) as house:
        await entered(house, login_spec())
        socket = house.dialer.sockets[0]
        for _ in range(60):
            socket.push("tick")
            await advance(house, 0.1)
        assert socket.aborted
        await house.settle()
        assert errors(world)[0][0] == "dialogue_timeout"


async def test_a_step_takes_the_services_time_by_default() -> None:
    world = World()
    async with running_house(world, default_timeout_seconds=3.0) as house:
        await entered(house, login_spec(Step(expect=Pattern())))
        await advance(house, 2.9)
        assert not house.dialer.sockets[0].aborted
        await advance(house, 0.2)
        assert house.dialer.sockets[0].aborted


async def test_a_server_that_does_not_read_the_dialogue_is_left() -> None:
    world = World()
    dial = None
    async with running_house(world) as house:
        dial = house.dialer.hang()
        dial.socket.takes_messages = False
        dial.succeed()
        await entered(house, login_spec(Step(send=Payload("hello"))))
        await advance(house, 10.2)
        assert dial.socket.aborted
        await house.settle()
        assert errors(world)[0] == (
            "dialogue_timeout",
            "step 1: the server does not read within 10 s",
        )


async def test_a_flood_before_the_answer_ends_the_attempt() -> None:
    world = with_key()
    async with running_house(world) as house:
        await entered(house, login_spec())
        house.dialer.sockets[0].push(*["x" * 1024 * 1024] * 33)
        await house.settle()
        assert errors(world)[0][0] == "dialogue_timeout"
        await reconnected(house, 2)
        house.dialer.sockets[1].push(*["x"] * 10_001)
        await house.settle()
        assert errors(world)[1][0] == "dialogue_timeout"


async def test_a_socket_that_ends_during_the_dialogue_is_a_failed_dial() -> None:
    world = with_key()
    async with running_house(world) as house:
        entry = await entered(house, login_spec())
        house.dialer.sockets[0].close_from_peer(1011, f"no such key {SECRET}")
        await house.settle()
        assert status(entry) is Status.RECONNECTING
        assert "connected" not in world.states()
        assert entry.record.cause is not None
        assert (entry.record.cause.close_code, entry.record.cause.close_reason) == (
            1011,
            "no such key ***",
        )


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("advice", list(Advice))
@pytest.mark.parametrize("open_before", [False, True])
async def test_the_servers_no_means_what_its_rule_says(advice: Advice, open_before: bool) -> None:
    world = with_key()
    opening = Opening((LOGIN,), (RefusalRule(DENIED, advice, "login refused"),))
    async with running_house(world) as house:
        entry = await entered(house, login_spec(opening=opening))
        socket = house.dialer.sockets[0]
        if open_before:
            socket.push('{"login":"ok"}')
            await wait_quiet()
        words = f'{{"login":"no","text":"bad key {SECRET}"}}'
        socket.push(words)
        await wait_quiet()
        await house.settle()
        assert socket.aborted
        scrubbed = words.replace(SECRET, "***")
        assert errors(world) == [("server_refused", f"login refused: {scrubbed}")]
        failed = house.journal.of(AttemptFailed)
        assert [one.error_type for one in failed] == ["server_refused"]
        if advice is Advice.NEVER:
            assert world.states()[-1] == "disconnected"
            await advance(house, 120.0, step=5.0)
            assert len(house.dialer.targets) == 1
        else:
            assert status(entry) is Status.RECONNECTING
            # Again: half of up to 2 s. Later: three quarters of 30 s.
            delay = data_of(world.lifecycle()[-1])["delay_ms"]
            assert (delay <= 2000) == (advice is Advice.AGAIN)
            await reconnected(house, 2)
        assert world.messages() == [], "a refusal is no message"


async def test_a_secret_on_the_edge_of_the_repeated_words_does_not_show() -> None:
    world = World()
    world.secrets.values["KEY"] = "0123456789" * 4
    opening = Opening((LOGIN,), (RefusalRule(DENIED, Advice.LATER),))
    async with running_house(world) as house:
        await entered(house, login_spec(opening=opening))
        head = '{"login":"no","text":"'
        padding = "x" * (200 - len(head) - 20)
        house.dialer.sockets[0].push(f'{head}{padding}{world.secrets.values["KEY"]}"}}')
        await house.settle()
        assert "0123" not in errors(world)[0][1]


async def test_a_dialogue_that_fails_on_the_first_dial_fails_the_connect() -> None:
    world = with_key()
    opening = Opening((LOGIN,), (RefusalRule(DENIED, Advice.LATER, "login"),))
    async with running_house(world) as house:
        spec = login_spec(opening=opening, first_dial=FirstDial.FAIL)
        connecting = asyncio.create_task(house.supervisor.connect(spec))
        await wait_quiet()
        assert not connecting.done(), "it waits for the dialogue"
        house.dialer.sockets[0].push('{"login":"no"}')
        with pytest.raises(FirstDialFailed) as caught:
            await connecting
        assert "server_refused" in str(vars(caught.value))
        assert 'login: {"login":"no"}' in str(caught.value)
        await house.settle()
        assert world.states() == ["connecting", "error", "disconnected"]
        assert world.records == []
        assert len(house.dialer.targets) == 1


async def test_a_first_dial_answers_once_the_dialogue_is_done() -> None:
    world = with_key()
    async with running_house(world) as house:
        spec = login_spec(first_dial=FirstDial.FAIL)
        connecting = asyncio.create_task(house.supervisor.connect(spec))
        await wait_quiet()
        assert not connecting.done()
        house.dialer.sockets[0].push('{"login":"ok"}')
        assert (await connecting).status is Status.CONNECTED


# --- secrets --------------------------------------------------------------------------------------


async def test_a_connection_waits_for_its_secret_and_comes_when_it_appears() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, login_spec())
        await house.settle()
        assert house.dialer.targets == [], "nothing is dialled without it"
        kind, message = errors(world)[0]
        assert kind == "secret_missing"
        assert "KEY" in message
        delays = [data_of(event).get("delay_ms", 0) for event in world.lifecycle()]
        assert max(delays) >= 15_000, "slowly"
        assert status(entry) is Status.RECONNECTING
        world.secrets.values["KEY"] = SECRET
        socket = await reconnected(house, 1)
        socket.push('{"login":"ok"}')
        await house.settle()
        assert world.states()[-1] == "connected"


@pytest.mark.parametrize(
    "options",
    [
        {"handshake": HandshakeOptions(headers=(Header("A", "${secret:ODD}"),))},
        {"url": "wss://feed.test/?k=${secret:ODD}"},
        {"subscriptions": (Subscription("a", Payload("${secret:ODD}")),)},
        {
            "liveness": Liveness(
                heartbeat=ApplicationHeartbeat(Payload("${secret:ODD}"), interval_ms=1000)
            )
        },
    ],
)
async def test_every_place_waits_for_its_secret(options: dict[str, Any]) -> None:
    world = World()
    async with running_house(world) as house:
        await entered(house, spec_of(first_dial=FirstDial.RETRY, **options))
        await house.settle()
        assert [kind for kind, _ in errors(world)] == ["secret_missing"]
        world.secrets.values["ODD"] = "x"
        await reconnected(house, 1)
        await house.settle()
        assert world.states()[-1] == "connected"


@pytest.mark.parametrize(
    "options",
    [
        {"opening": Opening((Step(send=Payload("${hex(unbase64(secret:ODD))}")),))},
        {"subscriptions": (Subscription("a", Payload("${hex(unbase64(secret:ODD))}")),)},
        {
            "liveness": Liveness(
                heartbeat=ApplicationHeartbeat(
                    Payload("${hex(unbase64(secret:ODD))}"), interval_ms=1000
                )
            )
        },
    ],
    ids=["dialogue", "subscription", "heartbeat"],
)
async def test_a_secret_that_does_not_fit_is_an_error_wherever_it_is_said(
    options: dict[str, Any],
) -> None:
    world = World()
    world.secrets.values["ODD"] = "no base64: %"
    async with running_house(world) as house:
        await entered(house, spec_of(first_dial=FirstDial.RETRY, **options))
        await advance(house, 2.0)
        await house.settle()
        assert errors(world)[0] == ("secret_missing", "the secret named ODD is not base64")


async def test_the_words_of_a_socket_that_ends_under_a_send_are_scrubbed() -> None:
    class Telling(ScriptedSocket):
        async def send(self, data: bytes, kind: Kind) -> None:
            if self.sent:
                words = f"closed: bad key {SECRET}"
                raise SocketFailed(Failure(FailureKind.PEER_CLOSED, words, 4001, words))
            await super().send(data, kind)

    world = with_key()
    async with running_house(world) as house:
        dial = house.dialer.hang()
        dial.socket = Telling()
        dial.succeed()
        entry = await entered(house, login_spec())
        dial.socket.push('{"login":"ok"}')
        await wait_quiet()
        with pytest.raises(ConnectionEnded) as caught:
            await house.supervisor.send_raw(entry.record.id, b"x", Kind.TEXT)
        assert "bad key ***" in str(caught.value)
        assert SECRET not in str(caught.value)


# --- messages that came together ------------------------------------------------------------------

PONG = Pattern(Match.POINTER, pointer="/op", value='"pong"')
WORDS: dict[str, bytes | str] = {
    "data": '{"n":1}',
    "pong": '{"op":"pong"}',
    "text": "no JSON",
    "bytes": b'{"n":2}',
}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(sorted(WORDS)), min_size=1, max_size=9), max_size=6),
    st.booleans(),
)
def test_however_they_are_read_messages_go_to_whoever_they_are_for(
    reads: list[list[str]],
    refused: bool,
) -> None:
    async def play() -> None:
        world = World()
        heartbeat = ApplicationHeartbeat(Payload("ping"), expect=PONG, interval_ms=60_000)
        spec = login_spec(
            opening=Opening(refusals=(RefusalRule(DENIED, Advice.NEVER),)),
            liveness=Liveness(heartbeat=heartbeat),
            buffer=BufferOptions(max_messages=5),
        )
        async with running_house(world) as house:
            await entered(house, spec)
            await house.settle()
            socket = house.dialer.sockets[0]
            for words in reads:
                socket.push(*(WORDS[word] for word in words))
                await wait_quiet()
            if refused:
                socket.push("before", '{"login":"no"}', "behind")
            await house.settle()
            await let_time_pass(house.clock, lambda: not house.lane.pending, step=0.5)
            sent = [WORDS[word] for words in reads for word in words if word != "pong"]
            sent += ["before"] if refused else []
            wanted = [one.encode() if isinstance(one, str) else one for one in sent]
            assert world.messages() == wanted
            assert bool(errors(world)) is refused

    asyncio.run(play())
