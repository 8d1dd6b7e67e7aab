"""Strategies for options that a caller may choose: valid in every field and between fields.

`connection_options()` draws whole options; the smaller builders are for tests of one part.
"""

from __future__ import annotations

import base64

from hypothesis import strategies as st

from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import (
    BufferOptions,
    ConnectionOptions,
    FirstDial,
    Format,
    ReconnectOptions,
)
from websocketmanager.domain.options import (
    ApplicationHeartbeat,
    Compression,
    Correlation,
    HandshakeOptions,
    Header,
    Liveness,
    Match,
    Opening,
    Overflow,
    Overlap,
    Pattern,
    Payload,
    QuietWindow,
    RefusalRule,
    Rotation,
    Step,
    Subscription,
    TlsOptions,
)
from websocketmanager.domain.retry import Advice

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
ZONES = ("UTC", "America/New_York", "Europe/Zurich", "Asia/Kolkata")

_LINE = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)
_TOKEN = st.text(st.sampled_from("abcXYZ019-_"), min_size=1, max_size=12)


def numbers(least: int, most: int) -> st.SearchStrategy[int]:
    """Returns numbers within bounds, and zero for the default."""
    return st.just(0) | st.integers(least, most)


def secret_names() -> st.SearchStrategy[str]:
    """Returns names that a secret can have."""
    return st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,10}", fullmatch=True)


def references() -> st.SearchStrategy[str]:
    """Returns references to one secret."""
    return secret_names().map(lambda name: f"${{secret:{name}}}")


def expressions() -> st.SearchStrategy[str]:
    """Returns expressions of every sort, in their braces."""
    signed = secret_names().map(lambda name: f"${{hex(hmac.sha256(secret:{name}, time.ms))}}")
    return references() | signed | st.sampled_from(["${nonce}", "${uuid}", "${time.s+60}"])


def templates() -> st.SearchStrategy[str]:
    """Returns texts of messages, not empty, with and without expressions."""
    plain = st.text(max_size=20).filter(lambda text: "{" not in text and not text.endswith("$"))
    pieces = st.lists(plain | expressions() | st.just('{"id":1}'), min_size=1, max_size=4)
    return pieces.map("".join).filter(bool)


def payloads() -> st.SearchStrategy[Payload]:
    """Returns Text and Binary messages."""
    binary = st.binary(min_size=1, max_size=20).map(lambda data: Payload(binary=data))
    return templates().map(Payload) | binary


def patterns(*, selective: bool = False) -> st.SearchStrategy[Pattern]:
    """Returns patterns; selective: none that matches every message."""
    frames = st.sampled_from([None, Kind.TEXT, Kind.BINARY])
    any_frames = st.sampled_from([Kind.TEXT, Kind.BINARY]) if selective else frames
    return st.one_of(
        st.builds(Pattern, frame=any_frames),
        st.builds(
            Pattern,
            match=st.just(Match.POINTER),
            pointer=st.sampled_from(["", "/op", "/a~1b/0", "/Δ"]),
            value=st.sampled_from(["", '"ok"', "1", "null", '{"a":[1,true]}']),
            frame=frames,
        ),
        st.builds(
            Pattern,
            match=st.just(Match.REGEX),
            regex=st.sampled_from(["pong", "^\\{", "(?i)error"]),
            frame=frames,
        ),
    )


def handshakes(*, secure: bool = True) -> st.SearchStrategy[HandshakeOptions]:
    """Returns handshakes; not secure: for ws://, without TLS."""
    names = _TOKEN.map(lambda name: f"X-{name}")
    ascii_values = st.text(st.characters(min_codepoint=33, max_codepoint=122), max_size=12)
    headers = st.builds(Header, names, ascii_values | references())
    proxies = st.sampled_from(
        ["", "http://proxy.example:3128", "socks5://u:${secret:PROXY}@10.0.0.1:1080"]
    )
    tls = st.just(TlsOptions()) | st.builds(
        lambda authority, client, name: TlsOptions(authority, client[0], client[1], name),
        st.sampled_from(["", CERTIFICATE, "${secret:CA}"]),
        st.sampled_from([("", ""), (CERTIFICATE, KEY), ("${secret:CERT}", "${secret:KEY}")]),
        st.sampled_from(["", "feed.example"]),
    )
    return st.builds(
        HandshakeOptions,
        headers=st.lists(headers, max_size=3).map(tuple),
        subprotocols=st.lists(_TOKEN, max_size=3, unique=True).map(tuple),
        origin=st.sampled_from(["", "null", "https://app.example:8443"]),
        compression=st.sampled_from(Compression),
        open_timeout_ms=numbers(1, 600_000),
        close_timeout_ms=numbers(1, 60_000),
        proxy=proxies,
        tls=tls if secure else st.just(TlsOptions()),
    )


def steps() -> st.SearchStrategy[Step]:
    """Returns steps that send, expect, or both."""
    return st.builds(Step, send=payloads()) | st.builds(
        Step,
        send=st.none() | payloads(),
        expect=patterns(),
        timeout_ms=numbers(1, 600_000),
        forward=st.booleans(),
    )


def openings() -> st.SearchStrategy[Opening]:
    """Returns opening dialogues."""
    rules = st.builds(
        RefusalRule, patterns(selective=True), st.sampled_from(Advice), st.just("") | _LINE
    )
    return st.builds(
        Opening,
        steps=st.lists(steps(), max_size=3).map(tuple),
        refusals=st.lists(rules, max_size=2).map(tuple),
    )


def subscriptions() -> st.SearchStrategy[tuple[Subscription, ...]]:
    """Returns sets of subscriptions with unique keys."""
    one = st.builds(
        Subscription,
        key=_LINE,
        subscribe=payloads(),
        unsubscribe=st.none() | payloads(),
        acknowledge=st.none() | patterns(selective=True),
    )
    return st.lists(one, max_size=3, unique_by=lambda one: one.key).map(tuple)


def quiet_windows() -> st.SearchStrategy[QuietWindow]:
    """Returns weekly windows."""
    times = st.times().map(lambda time: f"{time:%H:%M}")
    days = st.lists(st.integers(0, 6), min_size=1, max_size=7, unique=True).map(tuple)
    return st.builds(QuietWindow, days, times, times, st.sampled_from(ZONES))


def livenesses() -> st.SearchStrategy[Liveness]:
    """Returns sets of detectors."""
    silent = st.builds(ApplicationHeartbeat, payloads(), st.integers(100, 3_600_000))
    answered = st.builds(
        ApplicationHeartbeat,
        payloads(),
        st.integers(100, 3_600_000),
        patterns(selective=True),
        numbers(10, 3_600_000),
    )
    return st.builds(
        Liveness,
        ping_interval_ms=numbers(100, 3_600_000),
        ping_timeout_ms=numbers(10, 3_600_000),
        read_idle_ms=numbers(10, 86_400_000),
        first_data_ms=numbers(10, 86_400_000),
        data_age_ms=numbers(10, 86_400_000),
        data=st.none() | patterns(),
        heartbeat=st.none() | silent | answered,
        quiet=st.lists(quiet_windows(), max_size=2).map(tuple),
    )


def correlations() -> st.SearchStrategy[Correlation]:
    """Returns ways to find a reply."""
    return st.sampled_from(
        [Correlation(), Correlation("/id"), Correlation("/req_id", "/response/req_id")]
    )


def rotations() -> st.SearchStrategy[Rotation]:
    """Returns rotations."""
    ages = st.just((0, 0)) | st.integers(1000, 604_800_000).flatmap(
        lambda age: st.tuples(st.just(age), numbers(1, age - 1))
    )
    windows = numbers(1, 60_000)
    overlaps = st.one_of(
        st.just((Overlap.CUT, "", 0)),
        st.tuples(st.just(Overlap.CONTENT), st.just(""), windows),
        st.tuples(st.just(Overlap.POINTER), st.just("/u"), windows),
    )
    return st.builds(
        lambda age, notices, timeout, overlap: Rotation(
            age[0], age[1], tuple(notices), timeout, overlap[0], overlap[1], overlap[2]
        ),
        ages,
        st.lists(patterns(selective=True), max_size=2),
        numbers(10, 600_000),
        overlaps,
    )


def reconnects(*, auto_reconnect: bool = True) -> st.SearchStrategy[ReconnectOptions]:
    """Returns reconnect policies."""
    first = st.sampled_from(FirstDial) if auto_reconnect else st.just(FirstDial.FAIL)
    return st.builds(
        ReconnectOptions,
        first,
        numbers(1, 1000),
        numbers(1000, 3_600_000),
        st.integers(0, 2**31 - 1),
        numbers(1, 3_600_000),
    )


def buffers() -> st.SearchStrategy[BufferOptions]:
    """Returns buffers with every policy, valid where there is a message log."""
    bounds = numbers(1, 1_000_000), numbers(1024, 1_073_741_824)
    kept = st.sampled_from([Overflow.BLOCK, Overflow.SPILL])
    given_up = st.sampled_from([Overflow.DROP_OLDEST, Overflow.DROP_NEWEST, Overflow.CLOSE])
    conflated = st.just(Overflow.CONFLATE)
    pointers = st.sampled_from(["/symbol", "/data/0/id"])
    return (
        st.builds(BufferOptions, *bounds, kept, durable=st.booleans())
        | st.builds(BufferOptions, *bounds, given_up)
        | st.builds(BufferOptions, *bounds, conflated, pointers)
    )


def connection_options(
    *, secure: bool = True, auto_reconnect: bool = True
) -> st.SearchStrategy[ConnectionOptions]:
    """Returns whole options, valid for a wss:// (secure) URL with auto_reconnect."""
    return st.builds(
        ConnectionOptions,
        reconnect=reconnects(auto_reconnect=auto_reconnect),
        format=st.sampled_from(Format),
        markers=st.booleans(),
        max_message_bytes=numbers(1, 3_145_728),
        buffer=buffers(),
        handshake=handshakes(secure=secure),
        opening=openings(),
        subscriptions=subscriptions(),
        liveness=livenesses(),
        correlation=correlations(),
        send_spacing_ms=numbers(1, 60_000),
        exclusive=st.just("") | _LINE,
        rotation=rotations(),
    )


def fullest() -> ConnectionOptions:
    """Returns options without any default, for tests that look at every field.

    Not for a `Connect`: no policy of the buffer takes all of its other fields.
    """
    seen = Pattern(Match.POINTER, "/op", '"ok"', frame=Kind.TEXT)
    found = Pattern(Match.REGEX, regex="pong", frame=Kind.BINARY)
    signed = "${base64(hmac.sha256(secret:SIGNING, time.s, 'GET/verify'))}"
    return ConnectionOptions(
        reconnect=ReconnectOptions(FirstDial.RETRY, 10, 20, 30, 40),
        format=Format.ENVELOPE,
        markers=True,
        max_message_bytes=1000,
        buffer=BufferOptions(50, 2048, Overflow.SPILL, "/unused", durable=True),
        handshake=HandshakeOptions(
            headers=(Header("X-Key", "${secret:HEADER}"),),
            subprotocols=("one", "two"),
            origin="https://app.example",
            compression=Compression.DEFLATE,
            open_timeout_ms=1,
            close_timeout_ms=2,
            proxy="http://user:${secret:PROXY}@proxy.example:3128",
            tls=TlsOptions(
                "${secret:CA}", "${secret:CERTIFICATE}", "${secret:KEY}", "feed.example"
            ),
        ),
        opening=Opening(
            steps=(
                Step(Payload("login " + signed), seen, 3, forward=True),
                Step(Payload(binary=base64.b64decode("AP8="))),
            ),
            refusals=(RefusalRule(seen, Advice.NEVER, "denied"),),
        ),
        subscriptions=(
            Subscription("a", Payload("+ ${secret:ON}"), Payload("- ${secret:OFF}"), found),
        ),
        liveness=Liveness(
            ping_interval_ms=100,
            ping_timeout_ms=200,
            read_idle_ms=300,
            first_data_ms=400,
            data_age_ms=500,
            data=seen,
            heartbeat=ApplicationHeartbeat(Payload("ping ${secret:BEAT}"), 600, found, 700),
            quiet=(QuietWindow((4, 5), "22:00", "06:30", "Europe/Zurich"),),
        ),
        correlation=Correlation("/id", "/reply/id"),
        send_spacing_ms=300,
        exclusive="account",
        rotation=Rotation(80_000, 900, (seen,), 1000, Overlap.POINTER, "/u", 1100),
    )
