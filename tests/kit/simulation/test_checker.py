"""The checks see every fault: of the account, of the wire, and of the venue."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest

from tests.kit.simulation.account import EXTENDED, GAP, MESSAGE, STARTED, Account, Entry
from tests.kit.simulation.binance import SimulatedBinance
from tests.kit.simulation.checker import problems
from tests.kit.simulation.link import Link
from tests.kit.simulation.log import DialLog, Frame, Said
from tests.service.simulated_day import (
    Day,
    fast_rotation,
    live_day,
    on_top,
    profile_options,
    setting,
)
from websocketmanager.domain.envelope import timestamp
from websocketmanager.domain.options import Overlap

#: More than five, so that a burst of them would break a rule.
STREAMS = tuple(
    f"{symbol}@{channel}"
    for symbol in ("btcusdt", "ethusdt")
    for channel in ("trade", "aggTrade", "bookTicker")
)
PARAMETERS = {"symbol": "btcusdt,ethusdt", "channel": "trade,aggTrade,bookTicker"}
HOURS = Day(5, seconds=14_400.0, trouble_every_seconds=700.0, update_every_seconds=1700.0)


def a_few_hours(overlap: Overlap = Overlap.CUT) -> Account:
    """Returns a true account of something that went well."""

    async def live() -> Account:
        rules = replace(SimulatedBinance.rules, max_age_seconds=7200.0)
        venue = SimulatedBinance(setting(HOURS.seed, STREAMS), rules)
        options = on_top(profile_options("binance-spot", PARAMETERS), fast_rotation(overlap))
        troubles = (
            venue.close_one,
            venue.cut_one,
            venue.silence_one,
            venue.restart,
            venue.silence_one,
        )
        return await live_day(venue, "wss://binance.test/ws", options, HOURS, troubles=troubles)

    return asyncio.run(live())


@pytest.fixture(scope="module")
def true_account() -> Account:
    return a_few_hours()


@pytest.fixture
def account(true_account: Account) -> Account:
    return copy.deepcopy(true_account)


def found(account: Account) -> set[str]:
    """Returns the names of the checks that complain of an account."""
    afresh = replace(account)  # nothing is remembered of before
    return {problem.partition(":")[0] for problem in problems(afresh)}


def messages(account: Account) -> list[int]:
    """Returns the places of data messages that are not near the beginning or the end."""
    places = [i for i, one in enumerate(account.stream) if account.produced(one) is not None]
    return places[100:-100]


def markers(account: Account, kind: str) -> list[int]:
    return [index for index, one in enumerate(account.stream) if one.kind == kind]


def renumbered(stream: list[Entry]) -> list[Entry]:
    """Returns a stream whose numbers have no hole, whatever it has lost."""
    count, numbered = 0, []
    for entry in stream:
        count = 0 if entry.kind == STARTED else count + (entry.kind == MESSAGE)
        facts = {**entry.facts}
        for name in {"last_sequence"} & facts.keys():
            facts[name] = count
        numbered.append(replace(entry, sequence=count, facts=facts))
    return numbered


def test_a_true_account_is_in_order_and_holds_everything(account: Account) -> None:
    assert found(account) == set()
    assert markers(account, GAP)
    assert any(change.takes_over for change in account.lifecycle)
    assert any(one.silent_since for one in account.links)
    assert len(account.wanted) > 2


def test_a_message_that_is_lost_between_socket_and_topic(account: Account) -> None:
    del account.stream[messages(account)[0]]
    assert {"check_order", "check_sessions", "check_missing"} <= found(account)
    account.stream = renumbered(account.stream)
    assert {"check_sessions", "check_missing"} <= found(account)


def test_a_message_that_is_lost_on_the_wire(account: Account) -> None:
    place = messages(account)[0]
    lost = account.stream.pop(place)
    log = account.sessions[lost.session]
    log.arrived = [one for one in log.arrived if one.data != lost.data]
    account.stream = renumbered(account.stream)
    gap = next(i for i in markers(account, GAP) if account.stream[i].session > lost.session)
    session, last = account.stream[gap].session, account.stream[gap - 1].sequence
    for place in (*markers(account, GAP), *markers(account, EXTENDED)):
        if (entry := account.stream[place]).session == session:
            facts = {**entry.facts, "from_sequence": last}
            account.stream[place] = replace(entry, facts=facts)
    assert found(account) == {"check_missing"}


def test_a_message_that_comes_twice(account: Account) -> None:
    place = messages(account)[0]
    account.stream.insert(place, account.stream[place])
    account.stream = renumbered(account.stream)
    assert {"check_sessions", "check_repetitions"} <= found(account)


def test_messages_in_another_order(account: Account) -> None:
    stream = account.stream
    place = next(i for i in messages(account) if stream[i + 1].kind == MESSAGE)
    stream[place], stream[place + 1] = stream[place + 1], stream[place]
    account.stream = renumbered(stream)
    assert "check_sessions" in found(account)


def test_a_message_that_nobody_sent(account: Account) -> None:
    place = messages(account)[0]
    account.stream.insert(place, replace(account.stream[place], data=b'{"e":"trade","E":0}'))
    account.stream = renumbered(account.stream)
    assert "check_sessions" in found(account)


def test_a_word_of_the_dialogue_on_the_topic(account: Account) -> None:
    entry = account.stream[messages(account)[0]]
    log = account.sessions[entry.session]
    log.arrived = [
        replace(one, said=Said.WORD) if one.data == entry.data else one for one in log.arrived
    ]
    assert "check_sessions" in found(account)


def _shift(name: str, seconds: float) -> Callable[[dict[str, object]], dict[str, object]]:
    def shifted(facts: dict[str, object]) -> dict[str, object]:
        at = datetime.fromisoformat(str(facts[name])).timestamp()
        return {**facts, name: timestamp(at + seconds)}

    return shifted


@pytest.mark.parametrize(
    "change",
    [
        _shift("ended_at", 0.01),
        _shift("started_at", -0.01),
        lambda facts: {**facts, "from_sequence": facts["from_sequence"] + 1},
        lambda facts: {**facts, "from_session": facts["from_session"] - 1},
        lambda facts: {**facts, "to_sequence": 2},
        lambda facts: {**facts, "cause": "rotated" if facts["cause"] != "rotated" else "ping"},
        lambda facts: {**facts, "lost": 0},
    ],
    ids=["end", "start", "from", "session", "to", "cause", "lost"],
)
def test_a_gap_with_a_false_bound(
    account: Account, change: Callable[[dict[str, object]], dict[str, object]]
) -> None:
    place = markers(account, GAP)[1]
    entry = account.stream[place]
    account.stream[place] = replace(entry, facts=change(entry.facts))
    assert found(account) == {"check_gaps"}


@pytest.mark.parametrize(
    "change",
    [
        _shift("ended_at", 0.01),
        _shift("started_at", -0.01),
        lambda facts: {**facts, "from_sequence": facts["from_sequence"] + 1},
        lambda facts: {**facts, "lost": 0},
    ],
    ids=["end", "start", "from", "lost"],
)
def test_a_gap_with_a_false_reach(
    account: Account, change: Callable[[dict[str, object]], dict[str, object]]
) -> None:
    place = markers(account, EXTENDED)[1]
    entry = account.stream[place]
    account.stream[place] = replace(entry, facts=change(entry.facts))
    assert found(account) <= {"check_gaps", "check_missing"}
    assert "check_gaps" in found(account)


def test_a_gap_that_is_told_to_end_too_early(account: Account) -> None:
    for place in markers(account, EXTENDED):
        entry = account.stream[place]
        start = next(
            one for one in account.stream if one.kind == STARTED and one.session == entry.session
        )
        early = {**entry.facts, "started_at": start.facts["started_at"]}
        account.stream[place] = replace(entry, at=start.at, facts=early)
    assert "check_missing" in found(account)


@pytest.mark.parametrize("name", ["ended_at", "started_at"])
def test_bounds_that_agree_with_each_other_and_are_false(account: Account, name: str) -> None:
    place = markers(account, GAP)[1]
    beside = place - 1 if name == "ended_at" else place + 1
    for one in (place, beside):
        entry = account.stream[one]
        account.stream[one] = replace(entry, facts=_shift(name, 0.01)(entry.facts))
    assert found(account) == {"check_gaps"}


def test_a_gap_that_is_not_marked(account: Account) -> None:
    del account.stream[markers(account, GAP)[0]]
    assert {"check_gaps", "check_missing"} <= found(account)


def test_a_gap_where_nothing_can_be_missing(account: Account) -> None:
    gap = account.stream[markers(account, GAP)[0]]
    stream = account.stream
    place = next(
        i for i in markers(account, STARTED) if stream[i].session > 1 and stream[i - 1].kind != GAP
    )
    stream.insert(place, replace(gap, session=stream[place].session))
    assert "check_gaps" in found(account)


@pytest.mark.parametrize("kind", [STARTED, "ended"])
def test_a_marker_that_is_missing(account: Account, kind: str) -> None:
    del account.stream[markers(account, kind)[1]]
    assert found(account) & {"check_order", "check_known"}


def test_a_repetition_that_the_comparison_should_have_seen(account: Account) -> None:
    assert len({account.stream[i].data for i in messages(account)}) < len(messages(account))
    account.overlap = Overlap.CONTENT
    assert "check_repetitions" in found(account)


@pytest.mark.parametrize("lacks", [Said.DATA, Said.ACKNOWLEDGEMENT])
def test_a_session_that_takes_over_too_early(account: Account, lacks: Said) -> None:
    changes = [one for one in account.lifecycle if one.takes_over]
    log = account.sessions[changes[1].facts["session"]]
    log.arrived = [
        replace(one, said=Said.REPLY) if one.said is lacks else one for one in log.arrived[:50]
    ] + log.arrived[50:]
    assert "check_handovers" in found(account)


def test_a_third_socket(account: Account) -> None:
    ended = [one for one in account.links if one.ended_at is not None]
    ended[0].ended_at = ended[4].ended_at
    assert "check_sockets" in found(account)


def test_a_second_socket_where_one_is_allowed(account: Account) -> None:
    account.exclusive = True
    assert found(account) == {"check_sockets"}


@pytest.mark.parametrize("change", ["missing", "twice", "late", "too many"])
def test_subscriptions_that_are_not_the_desired_ones(account: Account, change: str) -> None:
    # The session that lived longest: nothing excuses it.
    log = max(account.links, key=lambda one: len(one.arrived))
    at, stream, _ = log.asked[0]
    match change:
        case "missing":
            del log.asked[0]
        case "twice":
            log.asked.insert(1, (at, stream, True))
        case "late":
            log.asked[0] = at + 30.0, stream, True
            log.asked.sort()
        case _:
            log.asked.append((at + 60.0, "ltcusdt@trade", True))
            log.asked.sort()
    assert found(account) == {"check_subscriptions"} or change == "late"
    assert "check_subscriptions" in found(account)


def test_an_update_that_is_forgotten(account: Account) -> None:
    at, wanted = account.wanted[1]
    account.wanted[1] = at, wanted - {STREAMS[0]}
    assert found(account) == {"check_subscriptions"}


def test_a_storm(account: Account) -> None:
    at = account.begun_at + 3600.0
    dials = [DialLog(at + n, at + n + 0.1, account.url, "open") for n in range(20)]
    account.log.dials += dials
    assert found(account) == {"check_dials"}


def test_logins_without_end(account: Account) -> None:
    account.links[1].logins += [account.begun_at + 60.0 + n for n in range(20)]
    assert found(account) == {"check_dials"}


def test_a_server_whose_wish_for_patience_is_ignored(account: Account) -> None:
    account.log.dials[0] = replace(account.log.dials[0], wait=86_400.0)
    assert found(account) == {"check_dials"}


def test_a_dial_after_a_rate_limit_that_comes_too_early(account: Account) -> None:
    for change in account.lifecycle:
        if change.state == "reconnecting":
            change.facts["close_code"] = 1008
    assert found(account) == {"check_delays"}


def test_a_dead_link_that_nobody_noticed(account: Account) -> None:
    for log in account.links:
        if log.silent_since is not None:
            log.silent_since -= 30.0
    assert "check_detection" in found(account)


def test_an_alarm_without_a_cause(account: Account) -> None:
    place = next(i for i, one in enumerate(account.lifecycle) if one.state == "connected")
    facts = account.lifecycle[place].facts | {"cause": "data_stale", "active": True}
    for at in range(place + 1, len(account.lifecycle)):
        one = account.lifecycle[at]
        account.lifecycle[at] = replace(one, number=at + 2, facts=one.facts | {"event": at + 2})
    false = replace(account.lifecycle[place], state="degraded", number=place + 2)
    account.lifecycle.insert(place + 1, replace(false, facts=facts | {"event": place + 2}))
    assert found(account) == {"check_alarms"}


def test_a_venue_that_complains(account: Account) -> None:
    account.violations = ["6 frames within a second"]
    assert found(account) == {"check_venue"}
    account.violations = []
    account.links[2].venue_end = "too old"
    assert found(account) == {"check_venue"}


@pytest.mark.parametrize(
    ("state", "check"),
    [("connected", "check_known"), ("error", "check_lifecycle"), ("reconnecting", "check_dials")],
)
def test_a_change_that_is_not_told(account: Account, state: str, check: str) -> None:
    places = [i for i, one in enumerate(account.lifecycle) if one.state == state]
    del account.lifecycle[places[2]]
    assert check in found(account)


def test_changes_in_an_order_that_makes_no_sense(account: Account) -> None:
    changes = account.lifecycle
    place = next(i for i, one in enumerate(changes) if one.state == "error")
    first, second = changes[place], changes[place + 1]
    changes[place] = replace(second, number=first.number, facts=second.facts | {"event": place + 1})
    changes[place + 1] = replace(
        first, number=second.number, facts=first.facts | {"event": place + 2}
    )
    assert "check_lifecycle" in found(account)


@pytest.mark.parametrize("fault", ["loses", "doubles", "turns round"])
def test_a_socket_that_does_not_deliver_what_came(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, held = Link._arrive, list[Frame]()

    def arrive(link: Link, frame: Frame) -> None:
        if frame.number != 300:
            whole(link, frame)
            for one in held:
                link.socket.push(one.data.decode())
            held.clear()
            return
        link.log.arrived.append(frame)
        if fault == "turns round":
            held.append(frame)
        elif fault == "doubles":
            for _ in range(2):
                link.socket.push(frame.data.decode())

    monkeypatch.setattr(Link, "_arrive", arrive)
    assert "check_sessions" in found(a_few_hours())
