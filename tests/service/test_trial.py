"""Trials on virtual time: each phase passes or fails alone, nothing is kept, nothing is left."""

from __future__ import annotations

import asyncio

import pytest

from tests.kit.quiet import wait_quiet
from tests.service.house import World, running_house, spec_of
from tests.service.sessions import LOGIN, SECRET, with_key
from tests.service.trying import BOOK, DIAL, TRADES, started, trying
from websocketmanager.domain.facts import TrialCrashed
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.options import (
    ApplicationHeartbeat,
    HandshakeOptions,
    Liveness,
    Match,
    Opening,
    Pattern,
    Payload,
    QuietWindow,
    RefusalRule,
    Subscription,
)
from websocketmanager.domain.retry import Advice
from websocketmanager.domain.trial import Outcome, Phase
from websocketmanager.service.trials import Trials

DATA = Pattern(Match.POINTER, "/p")


# --- everything goes well ---------------------------------------------------------------------


async def test_each_step_is_told_as_it_ends() -> None:
    spec = spec_of(opening=Opening((LOGIN,)), subscriptions=(TRADES, BOOK))
    async with trying(spec, with_key()) as trial:
        assert trial.phases == [f"{phase} ok" for phase in DIAL]
        assert trial.step(Phase.HANDSHAKE).detail == "scripted handshake"
        trial.house.clock.advance(2.0)
        trial.socket.push('{"login":"ok"}')
        await wait_quiet()
        assert trial.phases[-1] == "dialogue ok"
        assert trial.step(Phase.DIALOGUE).seconds == 2.0
        trial.socket.push('{"ok":"trades"}')
        await wait_quiet()
        assert trial.phases[-1] == "dialogue ok", "one is still owed"
        trial.socket.push('{"ok":"book"}')
        await wait_quiet()
        assert trial.step(Phase.SUBSCRIPTIONS).detail == "2 written, 2 acknowledged"
        assert trial.socket.closes == []
        trial.socket.push(b"\x00\x01")
        await trial.end()
        assert trial.step(Phase.FIRST_DATA).detail == "2 bytes, application/octet-stream"
        assert trial.phases[-1] == "first_data ok"
        assert trial.socket.closes == [1000]
        assert [message.data.decode() for message in trial.socket.sent] == [
            f'{{"key":"{SECRET}"}}', "+trades", "+book",
        ]  # fmt: skip
        assert SECRET not in repr(trial.told)


async def test_what_a_target_does_not_need_is_skipped() -> None:
    world = World()
    world.dialer.passes = [Phase.RESOLVE, Phase.POLICY, Phase.TCP, Phase.HANDSHAKE]
    async with trying(spec_of(url="ws://feed.test/"), world) as trial:
        trial.socket.push("1")
        await trial.end()
        skipped = {
            step.phase: step.detail for step in trial.told if step.outcome is Outcome.SKIPPED
        }
        assert skipped == {
            Phase.PROXY: "none is asked for",
            Phase.TLS: "the URL is ws://",
            Phase.DIALOGUE: "there is none",
            Phase.SUBSCRIPTIONS: "there are none",
        }


async def test_what_came_during_the_dialogue_counts_as_data() -> None:
    async with trying(spec_of(opening=Opening((LOGIN,))), with_key()) as trial:
        trial.socket.push('{"p":1}', '{"login":"ok"}')
        await trial.end()
        assert trial.phases[-1] == "first_data ok"
        assert trial.step(Phase.FIRST_DATA).detail == "7 bytes, text/plain"


async def test_a_subscription_without_acknowledgement_is_written_and_no_more() -> None:
    plain = Subscription("a", Payload("+a"))
    spec = spec_of(subscriptions=(plain, Subscription("b", Payload("+b"))), send_spacing_ms=1000)
    async with trying(spec) as trial:
        trial.socket.push("before the last was written")
        await wait_quiet()
        trial.house.clock.advance(1.0)
        await wait_quiet()
        assert trial.step(Phase.SUBSCRIPTIONS).detail == "2 written, 0 acknowledged"
        assert trial.phases[-1] == "subscriptions ok", "that was of the first one"
        trial.socket.push("x")
        await trial.end()
        assert trial.step(Phase.FIRST_DATA).detail == "1 byte, text/plain"


async def test_only_data_is_data() -> None:
    beat = ApplicationHeartbeat(Payload("ping"), 1000, Pattern(Match.REGEX, regex="pong"))
    spec = spec_of(liveness=Liveness(data=DATA, heartbeat=beat))
    async with trying(spec) as trial:
        trial.socket.push('{"pong":1,"p":1}', '{"status":1}')
        await wait_quiet()
        assert trial.phases[-1] == "handshake ok"
        trial.socket.push('{"p":1}')
        await trial.end()
        assert trial.phases[-1] == "first_data ok"


# --- each phase fails -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "passes", "phase"),
    [
        (FailureKind.DNS_FAILED, (), "resolve"),
        (FailureKind.ADDRESS_REFUSED, (), "policy"),
        (FailureKind.ADDRESS_REFUSED, DIAL[:1], "policy"),
        (FailureKind.CONNECT_REFUSED, DIAL[:2], "tcp"),
        (FailureKind.OPEN_TIMEOUT, DIAL[:2], "tcp"),
        (FailureKind.TLS_FAILED, DIAL[:3], "tls"),
        (FailureKind.HANDSHAKE_REJECTED, DIAL[:4], "handshake"),
    ],
)
async def test_a_dial_that_fails(kind: FailureKind, passes: tuple[Phase, ...], phase: str) -> None:
    world = World()
    world.dialer.fail(kind)
    async with running_house(world) as house:
        world.dialer.passes = list(passes)
        async with started(house, spec_of(), Trials(house.tools)) as trial:
            await trial.end()
            assert trial.failure == (phase, kind.value, "scripted")
    assert world.sink.events == []


async def test_a_secret_that_lacks_is_of_the_first_step_and_nothing_is_dialled() -> None:
    async with trying(spec_of(opening=Opening((LOGIN,)))) as trial:
        await trial.end()
        assert trial.failure[:2] == ("resolve", "secret_missing")
        assert "KEY" in trial.failure[2]
        assert trial.house.dialer.targets == []


REFUSALS = (RefusalRule(Pattern(Match.POINTER, "/no"), Advice.LATER, "denied"),)


async def test_a_refusal_is_of_the_phase_under_way_and_scrubbed() -> None:
    spec = spec_of(opening=Opening((LOGIN,), REFUSALS))
    async with trying(spec, with_key()) as trial:
        trial.socket.push(f'{{"no":"{SECRET}"}}')
        await trial.end()
        assert trial.failure == ("dialogue", "server_refused", 'denied: {"no":"***"}')
        assert trial.socket.closes == [1000]


async def test_a_dialogue_without_an_answer() -> None:
    async with trying(spec_of(opening=Opening((LOGIN,))), with_key()) as trial:
        await trial.end()
        assert trial.failure == ("dialogue", "dialogue_timeout", "step 1: no answer within 5 s")
        assert trial.step(Phase.DIALOGUE).seconds == 5.0


async def test_a_subscription_without_its_acknowledgement() -> None:
    async with trying(spec_of(subscriptions=(TRADES, BOOK))) as trial:
        trial.socket.push('{"ok":"trades"}', '{"p":1}')
        await trial.end()
        assert trial.failure == (
            "subscriptions",
            "subscription_unacknowledged",
            "book: no acknowledgement within 10 s",
        )
        assert trial.socket.closes == [1000]


async def test_a_subscription_that_is_refused() -> None:
    spec = spec_of(subscriptions=(TRADES,), opening=Opening((), REFUSALS))
    async with trying(spec) as trial:
        trial.socket.push('{"no":1}')
        await trial.end()
        assert trial.failure == ("subscriptions", "server_refused", 'denied: {"no":1}')


async def test_a_subscription_that_cannot_be_written() -> None:
    pending = World()
    dial = pending.dialer.hang()
    async with trying(spec_of(subscriptions=(TRADES,)), pending) as trial:
        dial.socket.takes_messages = False
        dial.succeed()
        await trial.end()
        what = "not all subscriptions were written within 10 s"
        assert trial.failure == ("subscriptions", "dialogue_timeout", what)


@pytest.mark.parametrize(("first_data_ms", "limit"), [(0, 10.0), (2500, 2.5)])
async def test_no_data(first_data_ms: int, limit: float) -> None:
    async with trying(spec_of(liveness=Liveness(first_data_ms=first_data_ms))) as trial:
        await trial.end()
        text = f"no data arrived within {limit:g} s"
        assert trial.failure == ("first_data", "first_data_missing", text)
        assert trial.step(Phase.FIRST_DATA).seconds == limit


async def test_no_data_in_a_quiet_window_is_no_failure() -> None:
    always = QuietWindow(tuple(range(7)), "00:00", "00:00")
    async with trying(spec_of(liveness=Liveness(quiet=(always,)))) as trial:
        await trial.end()
        step = trial.step(Phase.FIRST_DATA)
        assert (step.outcome, step.detail) == (
            Outcome.SKIPPED,
            "no data arrived within 10 s, and silence is normal now",
        )


async def test_a_server_that_closes() -> None:
    async with trying(spec_of(subscriptions=(TRADES,))) as trial:
        trial.socket.close_from_peer(1008, "go away")
        await trial.end()
        assert trial.failure == ("subscriptions", "peer_closed", "scripted: go away")


async def test_data_before_a_close_is_data() -> None:
    async with trying(spec_of()) as trial:
        trial.socket.push("1")
        trial.socket.close_from_peer(1000)
        await trial.end()
        assert trial.phases[-1] == "first_data ok"


async def test_a_fault_of_ours_is_a_failed_step_and_a_fact() -> None:
    world = with_key()
    world.dialer.crash(RuntimeError(f"oops {SECRET}"))
    async with trying(spec_of(opening=Opening((LOGIN,))), world) as trial:
        await trial.end()
        assert trial.failure[1:] == ("internal", "internal fault: RuntimeError")
        (fact,) = trial.house.journal.of(TrialCrashed)
        assert fact.error == "RuntimeError('oops ***')"
        assert "Traceback" in fact.trace
        assert SECRET not in fact.trace


# --- turns and bounds -------------------------------------------------------------------------


async def test_it_waits_for_its_turn_with_an_exclusive_credential_and_says_so() -> None:
    world = World()
    world.dialer.passes = list(DIAL)
    async with running_house(world) as house:
        view = await house.supervisor.connect(spec_of(exclusive="k"))
        async with started(house, spec_of(exclusive="k"), Trials(house.tools)) as trial:
            house.clock.advance(3.0)
            await wait_quiet()
            assert len(world.dialer.targets) == 1
            assert trial.told == []
            await house.supervisor.disconnect(view.id)
            await wait_quiet()
            assert len(world.dialer.targets) == 2
            trial.socket.push("1")
            await trial.end()
            assert trial.step(Phase.RESOLVE).detail == (
                "waited 3.000 s for a turn with the exclusive credential; scripted resolve"
            )
            assert trial.phases[-1] == "first_data ok"


async def test_a_turn_that_does_not_come() -> None:
    async with running_house(World()) as house:
        await house.supervisor.connect(spec_of(exclusive="k"))
        chosen = spec_of(exclusive="k", handshake=HandshakeOptions(open_timeout_ms=1500))
        async with started(house, chosen, Trials(house.tools)) as trial:
            await trial.end()
            text = "no turn for the exclusive credential within 1.5 s"
            assert trial.failure == ("resolve", "open_timeout", text)
            assert len(house.dialer.targets) == 1


async def test_the_credential_is_free_again_only_behind_the_close() -> None:
    async with (
        running_house(World()) as house,
        started(house, spec_of(exclusive="k"), Trials(house.tools)) as trial,
    ):
        trial.socket.answers_close = False
        trial.socket.push("1")
        await wait_quiet()
        assert trial.phases[-1] == "first_data ok"
        connecting = asyncio.create_task(house.supervisor.connect(spec_of(exclusive="k")))
        await wait_quiet()
        assert len(house.dialer.targets) == 1
        trial.socket.lose()
        await connecting
        assert len(house.dialer.targets) == 2
