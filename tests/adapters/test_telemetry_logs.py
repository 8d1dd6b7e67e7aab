"""Twin of adapters/telemetry/logs.py."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from websocketmanager.adapters.telemetry import Telemetry, configure_logging, running_telemetry
from websocketmanager.adapters.telemetry.logs import CHATTY, LIBRARIES, OURS, LogFormat, scrubbed
from websocketmanager.domain import facts


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Logging belongs to the process: puts back what a test changes."""
    loggers = [logging.getLogger(name) for name in (OURS, *LIBRARIES, *CHATTY)]
    before = [(each, each.handlers, each.propagate, each.level) for each in loggers]
    yield
    for logger, handlers, propagate, level in before:
        logger.handlers = handlers
        logger.propagate = propagate
        logger.setLevel(level)


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    with running_telemetry(service_version="1", instance_id="a", environ={}) as running:
        yield running


def entries(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


OPENED = facts.SessionOpened(connection_id="c-1", session=3, address="203.0.113.7:443")


def test_json_has_fact_fields_and_connection(telemetry: Telemetry) -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    telemetry.journal.emit(OPENED)
    (entry,) = entries(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", entry.pop("time"))
    assert entry == {
        "level": "info",
        "message": "connection c-1 connected: session 3 at 203.0.113.7:443",
        "fact": "SessionOpened",
        "connection_id": "c-1",
        "fields": {"session": 3, "address": "203.0.113.7:443"},
    }


def test_json_has_the_ids_of_the_current_span(telemetry: Telemetry) -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    with telemetry.tracer.span("Connect", headers={}):
        telemetry.journal.emit(OPENED)
        ((_, traceparent),) = telemetry.tracer.inject()
    telemetry.journal.emit(OPENED)
    inside, outside = entries(stream)
    assert traceparent.split("-")[1:3] == [inside["trace_id"], inside["span_id"]]
    assert "trace_id" not in outside
    assert "span_id" not in outside


def test_text_has_time_level_and_sentence(telemetry: Telemetry) -> None:
    stream = io.StringIO()
    configure_logging("info", "text", stream)
    telemetry.journal.emit(facts.PublishingStalled(problem="refused"))
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} warning publishing waits for the API: refused\n", stream.getvalue()
    )


def test_text_names_the_connection_exactly_once(telemetry: Telemetry) -> None:
    stream = io.StringIO()
    configure_logging("info", "text", stream)
    telemetry.journal.emit(OPENED)
    assert stream.getvalue().count("c-1") == 1


def test_text_shows_a_trace_below_its_sentence(telemetry: Telemetry) -> None:
    stream = io.StringIO()
    configure_logging("info", "text", stream)
    telemetry.journal.emit(facts.RunnerCrashed("c-1", "KeyError", "File x\n  line 3"))
    assert stream.getvalue().splitlines()[1:] == ["    File x", "      line 3"]


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [
        ("auto", io.StringIO(), True),
        ("auto", Terminal(), False),
        ("json", Terminal(), True),
        ("text", io.StringIO(), False),
    ],
)
def test_auto_is_text_on_a_terminal_only(
    log_format: LogFormat, stream: io.StringIO, is_json: bool, telemetry: Telemetry
) -> None:
    configure_logging("info", log_format, stream)
    telemetry.journal.emit(OPENED)
    assert stream.getvalue().startswith("{") is is_json


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["DialStarted", "SessionOpened", "HeartbeatFailed", "RecordIgnored"]),
        ("info", ["SessionOpened", "HeartbeatFailed", "RecordIgnored"]),
        ("WARNING", ["HeartbeatFailed", "RecordIgnored"]),
        ("error", ["RecordIgnored"]),
        ("critical", []),
    ],
)
def test_levels(level: str, expected: list[str], telemetry: Telemetry) -> None:
    stream = io.StringIO()
    configure_logging(level, "json", stream)
    for fact in (
        facts.DialStarted("c-1", "wss://x.example", 1),
        OPENED,
        facts.HeartbeatFailed("late"),
        facts.RecordIgnored("k", "schema 9"),
    ):
        telemetry.journal.emit(fact)
    assert [entry["fact"] for entry in entries(stream)] == expected


def test_unknown_level_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="'loud' is none of the levels debug, info, warning"):
        configure_logging("loud", "json", io.StringIO())


def test_libraries_stay_at_warning_even_when_we_debug() -> None:
    stream = io.StringIO()
    configure_logging("debug", "json", stream)
    for name in LIBRARIES:
        logger = logging.getLogger(f"{name}.child")
        logger.info("header Authorization: %s", "secret")
        logger.warning("went %s", "wrong")
    assert [(entry["logger"], entry["message"]) for entry in entries(stream)] == [
        (f"{name}.child", "went wrong") for name in LIBRARIES
    ]


def test_libraries_are_quieter_when_we_are() -> None:
    stream = io.StringIO()
    configure_logging("error", "json", stream)
    logging.getLogger("grpc").warning("x")
    assert stream.getvalue() == ""


def test_odd_headers_of_callers_do_not_fill_the_log(telemetry: Telemetry) -> None:
    stream = io.StringIO()
    configure_logging("debug", "json", stream)
    odd = {
        "traceparent": "0" * 600,
        "baggage": 'é=1,nonsense,=,a="',
    }
    with telemetry.tracer.span("List", headers=odd):
        telemetry.tracer.inject()
    odd = {
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
        "tracestate": "x=" + "y" * 600,
        "baggage": "a=" + "b" * 9000,
    }
    with telemetry.tracer.span("List", headers=odd):
        telemetry.tracer.inject()
    assert stream.getvalue() == ""


def test_configured_twice_each_record_is_written_once(telemetry: Telemetry) -> None:
    first, second, elsewhere = io.StringIO(), io.StringIO(), io.StringIO()
    of_the_host = logging.StreamHandler(elsewhere)
    logging.getLogger().addHandler(of_the_host)
    configure_logging("info", "json", first)
    configure_logging("info", "json", second)
    telemetry.journal.emit(OPENED)
    logging.getLogger("grpc").warning("x")
    logging.getLogger().removeHandler(of_the_host)
    assert (len(entries(first)), len(entries(second))) == (0, 2)
    assert elsewhere.getvalue() == ""


HOSTILE = "bye\n12:00:00 error forged\r\x1b[2J\u2028\u202e\x00\ud800 %s {0} {connection_id}"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_peer_cannot_forge_records(log_format: LogFormat, telemetry: Telemetry) -> None:
    stream = io.StringIO()
    configure_logging("info", log_format, stream)
    telemetry.journal.emit(facts.AttemptFailed("c-1", "peer_closed", HOSTILE, "again"))
    written = stream.getvalue()
    assert written.count("\n") == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u2028\u202e]", written)
    assert "%s {0} {connection_id}" in written
    written.encode()


def test_secrets_of_urls_are_hidden_everywhere(telemetry: Telemetry) -> None:
    url = "wss://me:pa:ss@x.example:443/feed?token=hunter2&key=k3y"
    for log_format in ("text", "json"):
        stream = io.StringIO()
        configure_logging("info", log_format, stream)
        telemetry.journal.emit(facts.ConnectionCreated("c-1", url))
        telemetry.journal.emit(
            facts.RunnerCrashed("c-1", f"bad {url}", f"raise InvalidURI({url!r})")
        )
        logging.getLogger("websockets").warning("cannot open %s", url)
        try:
            raise ValueError(url)
        except ValueError:
            logging.getLogger("grpc").exception("failed")
        written = stream.getvalue()
        assert written.count("wss://***@x.example:443/feed?token=***&key=***") >= 4
        assert not re.search("pa:ss|hunter2|k3y", written)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no url", "no url"),
        ("see https://x.example/a, please", "see https://x.example/a, please"),
        ("wss://x.example/?t=1&t=2 and ws://u@h", "wss://x.example/?t=***&t=*** and ws://***@h"),
        ("mail me@x.example: wss://x.example", "mail me@x.example: wss://x.example"),
        ("InvalidURI('wss://a:b@h/?q=1')", "InvalidURI('wss://***@h/?q=***')"),
        ("wss://h/?symbol=btcusdt", "wss://h/?symbol=btcusdt"),
        ("wss://***@h/?q=***", "wss://***@h/?q=***"),
    ],
)
def test_scrubbed(text: str, expected: str) -> None:
    assert scrubbed(text) == expected


def test_a_broken_stream_does_not_reach_the_caller(
    telemetry: Telemetry, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    stream.close()
    telemetry.journal.emit(OPENED)
    assert "closed file" in capsys.readouterr().err
