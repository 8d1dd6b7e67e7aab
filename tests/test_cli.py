"""The command line as its users meet it: output, sentences and exit codes, in real processes.

Most tests share one `dev` process, whose service and API their commands call.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from websocketmanager import __version__
from websocketmanager.demo.market import QUOTE
from websocketmanager.domain.identity import connection_id_of_name

CLI = (sys.executable, "-m", "websocketmanager")
#: Our variables of the machine must not decide tests.
ENVIRON = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
ANY_PORTS = ("--http-port", "0", "--grpc-port", "0", "--api-grpc-port", "0")
MISSING = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Ran:
    code: int
    out: bytes
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def run(*arguments: str, stdin: bytes = b"", **environ: str) -> Ran:
    done = subprocess.run(
        [*CLI, *arguments],
        input=stdin,
        capture_output=True,
        env=ENVIRON | environ,
        timeout=50,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr.decode())


@dataclass(frozen=True)
class Dev:
    service: str
    api_port: str
    feed: str

    def run(self, *arguments: str, stdin: bytes = b"") -> Ran:
        return run(*arguments, stdin=stdin, WEBSOCKETMANAGER_SERVER=self.service)

    def tail(self, *arguments: str) -> Ran:
        return run("tail", *arguments, VIRTUFIN_API_GRPC_PORT=self.api_port)


@pytest.fixture(scope="module")
def dev() -> Iterator[Dev]:
    with subprocess.Popen(
        [*CLI, "dev", *ANY_PORTS], stdout=subprocess.PIPE, text=True, env=ENVIRON
    ) as process:
        assert process.stdout is not None
        seen = ""
        for line in process.stdout:
            seen += line
            if re.search(r"demo-binary +connected", line):
                break
        service = re.search(r"service +gRPC (\S+),", seen)
        api = re.search(r"API +gRPC \S+:(\d+) ", seen)
        feed = re.search(r"demo feed +(\S+)/ticker", seen)
        assert service, seen
        assert api, seen
        assert feed, seen
        yield Dev(service[1], api[1], feed[1])
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(30) == 0, "the first SIGINT is a graceful stop"
        assert "summary       demo-ticker" in rest


# --- clients ------------------------------------------------------------------------------------


def test_list_tells_every_connection_as_json(dev: Dev) -> None:
    ran = dev.run("list", "--tag", "demo=true")
    assert ran.code == 0, ran.err
    assert {row["name"] for row in ran.rows} == {"demo-ticker", "demo-binary"}
    assert dev.run("list", "--tag", "demo=false").rows == []


def test_a_connection_lives_from_connect_to_disconnect(dev: Dev) -> None:
    options = ("--name", "mine", "--topic", "my.topic", "--tag", "a=b=c", "--format", "envelope")
    ran = dev.run("connect", f"{dev.feed}/stream", *options)
    assert ran.code == 0, ran.err
    (answer,) = ran.rows
    assert answer == {"id": connection_id_of_name("mine"), "status": "connected"}
    (row,) = dev.run("list", "--tag", "a=b=c").rows
    assert (row["topic"], row["auto_reconnect"], row["options"]["markers"]) == (
        "my.topic",
        True,
        True,
    )
    assert row["options"]["format"] == "envelope"
    assert dev.run("disconnect", "name:mine").code == 0
    again = dev.run("disconnect", answer["id"])
    assert again.code == 4
    assert "CONNECTION_NOT_FOUND" in again.err
    assert "next:  `websocketmanager list` shows the ids" in again.err


def test_the_defaults_of_connect_can_be_turned_off(dev: Dev) -> None:
    ran = dev.run("connect", f"{dev.feed}/stream", "--no-auto-reconnect", "--no-markers")
    (answer,) = ran.rows
    (row,) = [row for row in dev.run("list").rows if row["id"] == answer["id"]]
    assert (row["auto_reconnect"], row["options"]["markers"]) == (False, False)
    assert dev.run("disconnect", answer["id"]).code == 0


@pytest.mark.parametrize(
    ("arguments", "stdin", "expected"),
    [
        (["hello"], b"", {"text": "hello"}),
        (["-"], "ünï".encode(), {"text": "ünï"}),
        (["-", "--binary"], b"\x00\xff", {"base64": "AP8="}),
        (["x", "--text", "--timeout", "5"], b"", {"text": "x"}),
    ],
)
def test_send_prints_the_reply(
    dev: Dev, arguments: list[str], stdin: bytes, expected: dict[str, str]
) -> None:
    ran = dev.run("send", "name:demo-binary", *arguments, stdin=stdin)
    assert ran.code == 0, ran.err
    (reply,) = ran.rows
    assert expected.items() <= reply.items()


def test_send_raw_waits_for_no_reply(dev: Dev) -> None:
    ran = dev.run("send", "name:demo-binary", "x", "--raw")
    assert ran.rows == [{"id": connection_id_of_name("demo-binary"), "sent_bytes": 1}]


def test_a_connection_that_ends_under_a_send_is_told(dev: Dev) -> None:
    assert dev.run("connect", f"{dev.feed}/stream", "--name", "victim").code == 0
    # More than the exchange takes: it closes the session with 1009.
    ran = dev.run("send", "name:victim", "x" * 100_000)
    assert ran.code == 6, ran
    assert "CONNECTION_ENDED" in ran.err
    assert dev.run("disconnect", "name:victim").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["connect", "http://example.com"], 2, "url: "),
        (["connect", "ws://10.0.0.1/"], 6, "--allow-host"),
        (["connect", "ws://127.0.0.1:1/"], 7, "--first-dial retry"),
        (["connect", "ws://127.0.0.1:1/", "--name", "demo-ticker"], 6, "use another --name"),
        (["disconnect", MISSING], 4, MISSING),
        (["send", MISSING, "x"], 4, MISSING),
        (["send", "nonsense", "x"], 2, "id: "),
        (["connect", "ws://x/", "--tag", "novalue"], 2, "KEY=VALUE"),
        (["connect", "ws://x/", "--first-dial", "maybe"], 2, "maybe"),
    ],
)
def test_failures_have_a_code_and_a_sentence(
    dev: Dev, arguments: list[str], code: int, says: str
) -> None:
    ran = dev.run(*arguments)
    assert (ran.code, ran.out) == (code, b"")
    assert says in ran.err
    assert "Traceback" not in ran.err


def test_an_unreachable_service_says_how_to_start_one() -> None:
    ran = run("list", "--server", "127.0.0.1:1")
    assert ran.code == 3
    assert "websocketmanager serve" in ran.err


# --- one connection: get, update, rotate, watch, tail --connection; test -------------------------


def test_get_tells_statistics_and_transitions(dev: Dev) -> None:
    (row,) = dev.run("get", "name:demo-ticker").rows
    assert row["connection"]["name"] == "demo-ticker"
    assert row["statistics"]["messages_per_second_60s"] > 0
    numbers = [one["event"] for one in row["transitions"]]
    assert numbers == sorted(numbers)
    assert row["transitions"][0]["state"] == "connecting"


def test_update_changes_everything_at_once(dev: Dev, tmp_path: Path) -> None:
    assert dev.run("connect", f"{dev.feed}/stream", "--name", "changing").code == 0
    one = json.dumps({"key": "a", "subscribe": {"text": "+a"}, "unsubscribe": {"text": "-a"}})
    ran = dev.run(
        "update", "name:changing", "--topic", "new.topic", "--tag", "k=v", "--add", one
    )  # fmt: skip
    assert ran.code == 0, ran.err
    (row,) = ran.rows
    assert (row["topic"], row["tags"]) == ("new.topic", {"k": "v"})
    assert [one["key"] for one in row["options"]["subscriptions"]] == ["a"]
    file = tmp_path / "all.yaml"
    file.write_text("- {key: b, subscribe: {text: '+b'}}\n")
    (row,) = dev.run(
        "update", "name:changing", "--no-topic", "--no-tags", "--set", str(file)
    ).rows  # fmt: skip
    assert (row["topic"], row["tags"]) == ("", {})
    assert [one["key"] for one in row["options"]["subscriptions"]] == ["b"]
    (row,) = dev.run("update", "name:changing", "--remove", "b").rows
    assert row["options"]["subscriptions"] == []
    (row,) = dev.run("update", "name:changing", "--set", "-", stdin=b"[]").rows
    watched = dev.run("watch", "name:changing", "--after", "0", "--count", "2")
    assert [one["state"] for one in watched.rows] == ["connecting", "connected"]
    assert [one["event"] for one in watched.rows] == [1, 2]
    assert watched.rows[0]["data"]["connection_id"] == connection_id_of_name("changing")
    assert dev.run("disconnect", "name:changing").code == 0


def test_rotate_says_the_number_of_the_new_session(dev: Dev) -> None:
    assert dev.run("connect", f"{dev.feed}/ticker", "--name", "turning").code == 0
    ran = dev.run("rotate", "name:turning")
    assert ran.code == 0, ran.err
    (row,) = ran.rows
    assert row["id"] == connection_id_of_name("turning")
    assert row["session"] > 1
    assert dev.run("disconnect", "name:turning").code == 0


def test_test_tells_each_step(dev: Dev) -> None:
    ran = dev.run("test", f"{dev.feed}/ticker")
    assert ran.code == 0, ran.err
    told = {row["step"]: row["outcome"] for row in ran.rows}
    assert list(told) == [
        "resolve", "policy", "proxy", "tcp", "tls", "handshake", "dialogue", "subscriptions",
        "first_data",
    ]  # fmt: skip
    assert {step for step, outcome in told.items() if outcome == "ok"} == {
        "resolve", "policy", "tcp", "handshake", "first_data",
    }  # fmt: skip
    assert "failed" not in told.values()
    assert {row["name"] for row in dev.run("list").rows} == {"demo-ticker", "demo-binary"}


def test_test_ends_with_a_failure_when_a_step_failed(dev: Dev) -> None:
    ran = dev.run("test", "ws://127.0.0.1:1/")
    assert (ran.code, ran.err) == (1, "")
    (failed,) = [row for row in ran.rows if row["outcome"] == "failed"]
    assert (failed["step"], failed["error_type"]) == ("tcp", "connect_refused")


def test_watch_ends_when_its_time_is_over(dev: Dev) -> None:
    assert dev.run("watch", "--tag", "demo=never", "--duration", "0.1") == Ran(0, b"", "")


def test_tail_of_a_connection_shows_its_messages(dev: Dev) -> None:
    ran = dev.run("tail", "--connection", "name:demo-binary", "--count", "3", "--max-bytes", "4")
    assert ran.code == 0, ran.err
    assert len(ran.rows) == 3
    for row in ran.rows:
        assert row["topic"] == "websocketmanager.demo.binary"
        assert (row["size"], len(row["base64"])) == (QUOTE.size, 8)
    raw = dev.run("tail", "--connection", "name:demo-binary", "--count", "2", "--raw").out
    assert len(raw) == 2 * QUOTE.size


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["get", MISSING], 4, MISSING),
        (["watch", MISSING], 4, MISSING),
        (["rotate", MISSING], 4, MISSING),
        (["test", "http://x"], 2, "url: "),
        (["test", "ws://x/", "--profile", "none-such"], 2, "profile: "),
        (["test", "ws://x/", "--timeout", "0"], 2, "--timeout"),
        (["watch", "--after", "3"], 2, "after_event: needs id"),
        (["tail", "--connection", MISSING], 4, MISSING),
        (["tail"], 2, "TOPIC or --connection"),
        (["tail", "a.b", "--connection", MISSING], 2, "TOPIC or --connection"),
        (["update", MISSING], 2, "request: must change"),
        (["update", MISSING, "--no-topic"], 4, MISSING),
        (["update", MISSING, "--add", "{"], 2, "--add"),
        (["update", MISSING, "--set", "/does/not/exist"], 2, "cannot be read"),
        (["update", MISSING, "--add", '{"key":"a"}'], 2, "subscriptions.add[0].subscribe"),
    ],
)
def test_failures_of_one_connections_commands(
    dev: Dev, arguments: list[str], code: int, says: str
) -> None:
    ran = dev.run(*arguments)
    assert (ran.code, ran.out) == (code, b""), ran.err
    assert says in ran.err
    assert "Traceback" not in ran.err


# --- tail ---------------------------------------------------------------------------------------


def test_tail_prints_so_many_events_as_json(dev: Dev) -> None:
    ran = dev.tail("websocketmanager.demo.binary", "--count", "3")
    assert ran.code == 0, ran.err
    first, *others = [row for row in ran.rows if row["type"].endswith(".message")]
    for distance, row in enumerate(others, start=1):
        # The exchange may close the session at any time; the next one counts from one.
        assert row["session"] > first["session"] or row["sequence"] - first["sequence"] == distance
    assert all(row["base64"] for row in (first, *others))
    assert len(ran.rows) == 3


def test_tail_ends_when_its_time_is_over(dev: Dev) -> None:
    assert dev.tail("no.events", "--duration", "0.1") == Ran(0, b"", "")


def test_tail_raw_gives_exact_bytes(dev: Dev) -> None:
    out = dev.tail("websocketmanager.demo.binary", "--raw", "--count", "1").out
    marker = out.startswith(b'{"session":') and out.endswith(b"}")
    assert len(out) == QUOTE.size or marker


def test_tail_says_which_rule_a_topic_breaks(dev: Dev) -> None:
    ran = dev.tail("nonsense")
    assert ran.code == 2
    assert "<service>.<category>" in ran.err


def test_tail_without_an_api_says_how_to_start_one() -> None:
    ran = run("tail", "a.b", "--api-grpc-port", "1", "--api-host", "127.0.0.1")
    assert ran.code == 3
    assert "websocketmanager api" in ran.err


def test_a_reader_that_leaves_is_no_error(dev: Dev) -> None:
    with subprocess.Popen(
        [*CLI, "tail", "websocketmanager.demo.binary", "--api-grpc-port", dev.api_port],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRON,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_the_usual_end_of_tail(dev: Dev, number: signal.Signals) -> None:
    with subprocess.Popen(
        [*CLI, "tail", "websocketmanager.demo.binary", "--api-grpc-port", dev.api_port],
        stdout=subprocess.PIPE,
        env=ENVIRON,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        process.stdout.read()
        assert process.wait(30) == 0


# --- configuration ------------------------------------------------------------------------------


def test_check_config_shows_each_value_with_its_source(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("LogLevel: debug\nHttpPort: 1\n")
    ran = run(
        "check-config", "--config", str(file), "--grpc-port", "2",
        HTTPPORT="3", VIRTUFIN_API_KEY="s3cret", HOSTNAME="pod-7",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    told = {row["key"]: (row["value"], row["origin"]) for row in ran.rows}
    assert told["LogLevel"] == ("debug", "file")
    assert told["HttpPort"] == (3, "environment")
    assert told["GrpcPort"] == (2, "command line")
    assert told["InstanceId"] == ("pod-7", "environment")
    assert told["DatabasePath"] == ("websocketmanager.sqlite3", "default")
    assert told["VIRTUFIN_API_KEY"] == ("(set)", "environment")
    assert b"s3cret" not in ran.out


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("LogLevl: debug\n")
    ran = run("serve", "--config", str(file), "--http-port", "x", GrpcPort="y")
    assert (ran.code, ran.out) == (2, b"")
    assert "LogLevl: is not a key (file); did you mean LogLevel?" in ran.err
    assert "--http-port: must be a whole number, not 'x' (command line)" in ran.err
    assert "GrpcPort: must be a whole number, not 'y' (environment)" in ran.err
    assert "next:  " in ran.err


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"a: ["])
def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "my.yaml"
    if content is not None:
        file.write_bytes(content)
    ran = run("check-config", WEBSOCKETMANAGER_CONFIG=str(file))
    assert ran.code == 2
    assert str(file) in ran.err


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("serve", "--http-port"),
        ("serve", "--grpc-port"),
        ("api", "--api-grpc-port"),
        ("dev", "--http-port"),
        ("dev", "--api-grpc-port"),
    ],
)
def test_a_port_in_use_names_the_flag_that_changes_it(command: str, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run(command, flag, str(port))
    assert ran.code == 2
    assert (
        f"{flag}: 127.0.0.1:{port}: Address already in use; choose another with {flag}" in ran.err
    )


@pytest.mark.parametrize("arguments", [["--api-grpc-port", "0"], ["--grpc-port", "5002"]])
def test_serve_refuses_an_api_that_cannot_be_one(arguments: list[str]) -> None:
    ran = run("serve", *arguments)
    assert ran.code == 2
    assert "virtufin-api" in ran.err


# --- the rest -----------------------------------------------------------------------------------


def test_the_version_is_told() -> None:
    assert run("--version").out.decode().strip() == __version__


def test_help_lists_commands_and_exit_codes() -> None:
    text = run("--help").out.decode()
    commands = ("dev", "serve", "api", "connect", "list", "disconnect", "send", "tail")
    for word in (*commands, "check-config", "Exit codes:", "130"):
        assert word in text


def test_without_a_command_the_help_is_shown() -> None:
    ran = run()
    assert ran.code == 2
    assert "Usage:" in ran.out.decode() + ran.err


def test_an_unknown_option_is_wrong_usage() -> None:
    assert run("list", "--nope").code == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_stops_in_good_order_even_without_its_api(number: signal.Signals) -> None:
    with subprocess.Popen(
        [*CLI, "serve", "--http-port", "0", "--grpc-port", "0", "--api-grpc-port", "1"],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRON,
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "listening" in line)
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(30) == 0, rest
        assert number.name in rest, "the log says who asked"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_the_second_signal_ends_the_process_at_once(number: signal.Signals, code: int) -> None:
    program = """
import asyncio, os
from websocketmanager.cli.process import Stop

async def never_ends():
    stop = Stop()
    stop.listen()
    print("ready", flush=True)
    await stop.asked.wait()
    print(stop.reason, flush=True)
    await asyncio.Event().wait()

asyncio.run(never_ends())
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRON,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "SIGTERM\n"
        process.send_signal(number)
        assert process.wait(30) == code
        assert "ended at once" in process.stderr.read()


def test_the_api_runs_alone_until_it_is_told_to_stop(tmp_path: Path) -> None:
    database = tmp_path / "state.sqlite3"
    with subprocess.Popen(
        [*CLI, "api", "--api-grpc-port", "0", "--database", str(database)],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRON,
    ) as process:
        assert process.stderr is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", process.stderr.readline())
        assert found
        assert run("tail", "a.b", "--api-grpc-port", found[1], "--duration", "0.2").code == 0
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(30) == 0
    assert database.exists()


def test_the_service_runs_with_its_own_api_until_it_is_told_to_stop(tmp_path: Path) -> None:
    database = tmp_path / "state.sqlite3"
    with subprocess.Popen(
        [*CLI, "serve", "--embedded-api", *ANY_PORTS, "--bind-host", "127.0.0.1"],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRON | {"DatabasePath": str(database)},
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"virtufin-api \(embedded\) at 127\.0\.0\.1:(\d+)", line):
                break
        assert found
        assert run("tail", "a.b", "--api-grpc-port", found[1], "--duration", "0.2").code == 0
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(30) == 0
    assert database.exists()


@pytest.mark.slow
def test_dev_shows_a_reconnect_and_ends_after_its_duration() -> None:
    ran = run("dev", *ANY_PORTS, "--duration", "8")
    text = ran.out.decode()
    assert ran.code == 0, ran.err
    assert ran.err == ""
    for word in ("connecting", "connected", "error", "reconnecting", "stream gap"):
        assert re.search(rf"demo-ticker +{word} ", text), word
    summary = re.search(
        r"summary +demo-ticker +(\d+) messages, .*, (\d) reconnect.* 0 missing", text
    )
    assert summary, text
    assert int(summary[1]) > 50
    assert int(summary[2]) >= 1


def test_dev_with_a_kept_database_starts_again(tmp_path: Path) -> None:
    database = str(tmp_path / "dev.sqlite3")
    for _ in range(2):
        ran = run("dev", *ANY_PORTS, "--database", database, "--duration", "1.5")
        assert ran.code == 0, ran.err
        assert re.search(r"demo-binary +connected ", ran.out.decode()), ran.out
