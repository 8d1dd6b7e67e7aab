"""Each profile against its simulated venue: login, subscriptions, rules, and back after a close."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.kit.scripted_api import ScriptedApi, running_scripted_api
from tests.kit.service import Service, running_inside
from tests.kit.venues.alpaca import Alpaca
from tests.kit.venues.base import Rules, Venue, VenueSession, running_venue
from tests.kit.venues.binance import BinanceFutures, BinanceSpot
from tests.kit.venues.coinbase import Coinbase
from tests.kit.venues.kraken import Kraken
from tests.kit.venues.okx import Credentials, Okx
from tests.system.evidence import by_connection, lives, messages, session_data
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.adapters.profile_files import packaged_folder, read_profiles
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.api.options_message import options_message
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import ConnectionOptions

TOPIC = "mymodule.ticks"
PROFILES = read_profiles(packaged_folder(), compile_regex=compile_regex, limits=Limits())
#: Signs that JSON escapes, to see them arrive whole.
CREDENTIALS = Credentials("key-canary-1", "secret-canary-2", 'pass"canary\\3')
COINBASE = replace(CREDENTIALS, secret=base64.b64encode(b"secret-canary-4").decode())


@dataclass(frozen=True)
class Case:
    """A profile, its venue, and what must come of both."""

    profile: str
    venue: Callable[[], Venue]
    parameters: Mapping[str, str]
    subscribed: tuple[str, ...]
    secrets: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.profile


def _alpaca() -> Alpaca:
    return Alpaca({CREDENTIALS.key: CREDENTIALS.secret})


ALPACA = Case(
    "alpaca",
    _alpaca,
    {"symbol": "AAPL,BTC/USD,*", "channel": "trades,bars"},
    ("trades AAPL", "bars AAPL", "trades BTC/USD", "bars BTC/USD", "trades *", "bars *"),
    {"ALPACA_KEY_ID": CREDENTIALS.key, "ALPACA_SECRET_KEY": CREDENTIALS.secret},
)
OKX_PRIVATE = Case(
    "okx-private",
    lambda: Okx(CREDENTIALS),
    {"channel": "orders,positions"},
    ("orders ANY", "positions ANY"),
    {
        "OKX_API_KEY": CREDENTIALS.key,
        "OKX_SECRET_KEY": CREDENTIALS.secret,
        "OKX_PASSPHRASE": CREDENTIALS.passphrase,
    },
)
COINBASE_SIGNED = Case(
    "coinbase-signed",
    lambda: Coinbase(COINBASE),
    {"symbol": "BTC-USD,ETH-USD", "account": "DESK"},
    ("level2 BTC-USD", "level2 ETH-USD"),
    {
        "DESK_KEY": COINBASE.key,
        "DESK_PASSPHRASE": COINBASE.passphrase,
        "DESK_SECRET": COINBASE.secret,
    },
)
SPOT = Case(
    "binance-spot",
    BinanceSpot,
    {"symbol": "btcusdt,ethusdt", "channel": "trade,depth@100ms"},
    ("btcusdt@trade", "btcusdt@depth@100ms", "ethusdt@trade", "ethusdt@depth@100ms"),
)
OKX = Case("okx", Okx, {"symbol": "BTC-USDT,ETH-USDT"}, ("trades BTC-USDT", "trades ETH-USDT"))
KRAKEN = Case("kraken", Kraken, {"symbol": "BTC/USD,ETH/USD"}, ("trade BTC/USD", "trade ETH/USD"))
CASES = (
    ALPACA,
    COINBASE_SIGNED,
    KRAKEN,
    OKX,
    OKX_PRIVATE,
    SPOT,
    Case(
        "binance-futures",
        BinanceFutures,
        {"symbol": "btcusdt", "channel": "aggTrade,markPrice@1s"},
        ("btcusdt@aggTrade", "btcusdt@markPrice@1s"),
    ),
    Case(
        "coinbase",
        Coinbase,
        {"symbol": "BTC-USD", "channel": "ticker,matches"},
        ("ticker BTC-USD", "matches BTC-USD"),
    ),
)


def _secrets(folder: Path, case: Case) -> str:
    for name, value in case.secrets.items():
        (folder / name).write_text(value, encoding="utf-8")
    return str(folder)


def _request(case: Case, venue: Venue, **changes: Any) -> pb.ConnectRequest:
    """Returns the call, with the heartbeat as quick as the venue is impatient."""
    options = ConnectionOptions(**changes)
    if heartbeat := PROFILES[case.profile].options.liveness.heartbeat:
        quick = replace(heartbeat, interval_ms=500, timeout_ms=400)
        options = replace(options, liveness=replace(options.liveness, heartbeat=quick))
    return pb.ConnectRequest(
        url=venue.url,
        auto_reconnect=True,
        topic=TOPIC,
        profile=case.profile,
        profile_parameters=case.parameters,
        options=options_message(options),
    )


async def _wait_delivered(api: ScriptedApi, wanted: list[bytes]) -> None:
    async with asyncio.timeout(20):
        while not set(wanted) <= {one.data for one in api.published if one.topic == TOPIC}:
            count = sum(one.topic == TOPIC for one in api.published)
            await api.wait_published(count + 1, TOPIC)


async def _wait_state(api: ScriptedApi, connection: str, state: str) -> dict[str, Any]:
    """Waits for a lifecycle event; returns its data."""
    async with asyncio.timeout(20):
        while True:
            count = len(api.published)
            for life in lives(api.published).get(connection, ()):
                if life.state == state:
                    return dict(life.data)
            await api.wait_published(count + 1)


async def _assert_secrets_hidden(api: ScriptedApi, service: Service, case: Case) -> None:
    shown = [str(await service.list()), *(value for value, _ in api.values.values())]
    for event in api.published:
        shown += [event.data.decode(), str(event.metadata)]
    # JSON writes the quote within one of them in another way.
    needles = [*case.secrets.values(), "canary"]
    found = [(secret, text) for text in shown for secret in needles if secret in text]
    assert not found


def _assert_once(session: VenueSession, case: Case) -> None:
    assert tuple(session.asked) == case.subscribed


def test_every_profile_that_is_shipped_has_a_venue() -> None:
    assert {case.profile for case in CASES} == PROFILES.keys()


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_login_subscriptions_data_and_all_again_after_a_close(
    case: Case, tmp_path: Path
) -> None:
    async with (
        running_scripted_api() as api,
        running_venue(case.venue()) as venue,
        running_inside(api.port, secrets_folder=_secrets(tmp_path, case)) as service,
    ):
        await service.wait_ready()
        answer = await service.stub.Connect(_request(case, venue))
        assert answer.status == "connected"
        first = await venue.wait_subscribed(set(case.subscribed))
        await venue.wait_data(first, 4 * len(case.subscribed))
        await first.close(1012, "maintenance")

        second = await venue.wait_subscribed(set(case.subscribed), after=1)
        await venue.wait_data(second, 3 * len(case.subscribed))
        second.feeding = False
        await _wait_delivered(api, first.data + second.data)

        _assert_once(first, case)
        _assert_once(second, case)
        delivered = by_connection(messages(api.published, TOPIC))[answer.id]
        for number, session in enumerate((first, second), 1):
            got = [
                data
                for data in session_data(delivered, number)
                if b'"channel":"heartbeat"' not in data and b'"channel":"status"' not in data
            ]
            # No greeting, login, acknowledgement or pong among them.
            assert got == session.data
        assert venue.violations == []
        one = (await service.list())[answer.id]
        assert one.profile == case.profile
        assert not one.degraded
        await service.stub.Disconnect(pb.DisconnectRequest(id=answer.id))
        await _assert_secrets_hidden(api, service, case)


# --- refused logins -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "wrong", "words"),
    [
        (ALPACA, "ALPACA_SECRET_KEY", "auth failed"),
        (ALPACA, "ALPACA_KEY_ID", "auth failed"),
        (OKX_PRIVATE, "OKX_API_KEY", "invalid key"),
        (OKX_PRIVATE, "OKX_SECRET_KEY", "invalid signature"),
        (OKX_PRIVATE, "OKX_PASSPHRASE", "wrong passphrase"),
        (COINBASE_SIGNED, "DESK_PASSPHRASE", "authentication failed"),
    ],
    ids=str,
)
async def test_wrong_credentials_are_shown_once_and_never_again(
    case: Case, wrong: str, words: str, tmp_path: Path
) -> None:
    case = replace(case, secrets={**case.secrets, wrong: "wrong-canary"})
    async with (
        running_scripted_api() as api,
        running_venue(case.venue()) as venue,
        running_inside(api.port, secrets_folder=_secrets(tmp_path, case)) as service,
    ):
        await service.wait_ready()
        request = _request(case, venue)
        request.options.reconnect.first_dial = pb.FIRST_DIAL_RETRY
        connection = (await service.stub.Connect(request)).id
        ended = await _wait_state(api, connection, "disconnected")
        error = await _wait_state(api, connection, "error")
        assert error["error_type"] == "server_refused"
        assert words in error["error_message"]
        assert ended["final"] is True
        assert len(venue.sessions) == 1
        assert not venue.sessions[0].subscribed
        await _assert_secrets_hidden(api, service, case)


@pytest.mark.parametrize(
    ("case", "refusal", "words"),
    [
        (ALPACA, (406, "connection limit exceeded"), "connection limit exceeded"),
        (ALPACA, (500, "internal error"), "internal error"),
        (OKX_PRIVATE, ("60006", "Timestamp request expired"), "timestamp expired"),
        (OKX_PRIVATE, ("63999", "Login failed due to internal error."), "login failed inside"),
    ],
    ids=str,
)
async def test_a_login_that_fails_for_now_is_tried_again(
    case: Case, refusal: Any, words: str, tmp_path: Path
) -> None:
    venue: Any = case.venue()
    venue.refusal = refusal
    async with (
        running_scripted_api() as api,
        running_venue(venue),
        running_inside(api.port, secrets_folder=_secrets(tmp_path, case)) as service,
    ):
        await service.wait_ready()
        request = _request(case, venue)
        request.options.reconnect.first_dial = pb.FIRST_DIAL_RETRY
        connection = (await service.stub.Connect(request)).id
        error = await _wait_state(api, connection, "error")
        assert (error["error_type"], words in error["error_message"]) == ("server_refused", True)
        venue.refusal = None
        await venue.wait_subscribed(set(case.subscribed))
        assert venue.violations == []


async def test_alpaca_lets_in_one_connection_and_the_service_waits_for_its_turn(
    tmp_path: Path,
) -> None:
    from websockets.asyncio.client import connect

    async with (
        running_scripted_api() as api,
        running_venue(_alpaca()) as venue,
        running_inside(api.port, secrets_folder=_secrets(tmp_path, ALPACA)) as service,
    ):
        await service.wait_ready()
        async with connect(venue.url) as other:
            words = f'"key":"{CREDENTIALS.key}","secret":"{CREDENTIALS.secret}"'
            await other.send(f'{{"action":"auth",{words}}}')
            await venue.wait_for(lambda: venue.sessions[0].key)
            request = _request(ALPACA, venue)
            request.options.reconnect.first_dial = pb.FIRST_DIAL_RETRY
            connection = (await service.stub.Connect(request)).id
            error = await _wait_state(api, connection, "error")
            assert "406" in error["error_message"]
        session = await venue.wait_subscribed(set(ALPACA.subscribed))
        assert session is venue.sessions[-1]


# --- rates, pings, age ----------------------------------------------------------------------------


def _most_within_a_second(session: VenueSession) -> int:
    times = [at for at, _ in session.frames]
    return max(sum(begin <= at < begin + 1 for at in times) for begin in times)


async def test_binance_gets_at_most_five_frames_a_second_and_all_its_pongs() -> None:
    symbols = ",".join(f"s{number}usdt" for number in range(12))
    case = replace(SPOT, parameters={"symbol": symbols})
    wanted = {f"s{number}usdt@trade" for number in range(12)}
    async with (
        running_scripted_api() as api,
        running_venue(BinanceSpot()) as venue,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        await service.stub.Connect(_request(case, venue))
        session = await venue.wait_subscribed(wanted)
        assert venue.violations == []
        assert 3 <= _most_within_a_second(session) <= 5
        pongs = len(session.frames) - len(session.requests)
        assert pongs >= 2


async def test_without_the_profiles_spacing_binance_closes_with_1008() -> None:
    case = replace(SPOT, parameters={"symbol": "a,b,c,d,e,f,g"})
    async with (
        running_scripted_api() as api,
        running_venue(BinanceSpot()) as venue,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        connection = (await service.stub.Connect(_request(case, venue, send_spacing_ms=1))).id
        again = await _wait_state(api, connection, "reconnecting")
        assert again["close_code"] == 1008
        assert venue.violations


@pytest.mark.parametrize(
    ("case", "make"),
    [
        (SPOT, lambda: BinanceSpot(Rules(max_age_seconds=3.0, notice_seconds=1.0))),
        (OKX, lambda: Okx(rules=Rules(max_age_seconds=2.0, notice_seconds=0.5))),
    ],
    ids=["binance-spot", "okx"],
)
async def test_a_venue_that_ends_old_sessions_gets_a_new_one(
    case: Case, make: Callable[[], Venue]
) -> None:
    async with (
        running_scripted_api() as api,
        running_venue(make()) as venue,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        await service.stub.Connect(_request(case, venue))
        first = await venue.wait_subscribed(set(case.subscribed))
        second = await venue.wait_subscribed(set(case.subscribed), after=1)
        await venue.wait_data(second, 3)
        await venue.wait_for(lambda: not first.is_open)
        _assert_once(second, case)
        assert venue.violations == []


@pytest.mark.parametrize("case", [OKX, KRAKEN], ids=str)
async def test_the_heartbeat_keeps_a_session_that_would_be_closed_for_silence(case: Case) -> None:
    async with (
        running_scripted_api() as api,
        running_venue(case.venue()) as venue,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        await service.stub.Connect(_request(case, venue))
        session = await venue.wait_subscribed(set(case.subscribed))
        begin = asyncio.get_running_loop().time()
        impatience = 1.5 * venue.now_rules.silence_seconds
        await venue.wait_for(lambda: asyncio.get_running_loop().time() > begin + impatience)
        assert venue.violations == []
        assert session.is_open
        assert len(venue.sessions) == 1


async def test_kraken_is_asked_again_slowly_after_too_many_messages() -> None:
    venue = Kraken()
    venue.strained = True
    async with (
        running_scripted_api() as api,
        running_venue(venue),
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        connection = (await service.stub.Connect(_request(KRAKEN, venue))).id
        error = await _wait_state(api, connection, "error")
        assert "rate limit" in error["error_message"]
        venue.strained = False
        await venue.wait_subscribed(set(KRAKEN.subscribed))


async def test_one_subscription_that_is_refused_leaves_the_others_alone() -> None:
    case = replace(KRAKEN, parameters={"symbol": "NO/SUCH,BTC/USD"})
    async with (
        running_scripted_api() as api,
        running_venue(Kraken()) as venue,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        await service.stub.Connect(_request(case, venue))
        session = await venue.wait_subscribed({"trade BTC/USD"})
        await venue.wait_data(session, 5)
        assert len(venue.sessions) == 1
        assert b"Currency pair not supported" in b"".join(
            one.data for one in api.published if one.topic == TOPIC
        )
