"""One validated value for everything that an operator may tune.

Pure: the sources arrive as mappings, the faults leave together. May import domain and errors;
never reads the environment, the command line or a file itself.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_core import ErrorDetails

from websocketmanager.domain.address_policy import AddressPolicy
from websocketmanager.domain.envelope import LIFECYCLE_TYPE_PREFIX
from websocketmanager.domain.host_rules import HostRules
from websocketmanager.domain.hosts import Malformed, read_address, read_host
from websocketmanager.errors import Fault, SettingsInvalid

#: One hour: no delay or timeout of this service makes sense beyond it.
_MAX_MS = 3_600_000
_MAX_INT32 = 2**31 - 1
#: No host needs more sockets of one process than it may have connections.
_MAX_SOCKETS = 1_000_000
#: How much of a refused value a fault repeats.
_SHOWN_LENGTH = 60
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


@dataclass(frozen=True, slots=True)
class Key:
    """How the environment and the file spell a field, and its meaning in one line.

    The command line spells it as the field with dashes, or as `option`. A `secret` has no option,
    as every user of a machine sees command lines; no message repeats its value.
    """

    name: str
    meaning: str
    option: str = ""
    secret: bool = False


def _not_boolean(value: object) -> object:
    # YAML's `yes` must not become the number 1.
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic collects ValueError
    return value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _host(value: str) -> str:
    bare = value.strip("[]")
    if read_address(bare) is not None:
        return bare
    if "/" in value:
        raise ValueError("must be a host alone, without scheme or path")
    if ":" in value:
        raise ValueError("must be a host alone: the port has a key of its own")
    try:
        read_host(value)
    except Malformed:
        raise ValueError("must be a host name or an IP address") from None
    return value


def _optional_host(value: str) -> str:
    return _host(value) if value else value


def _hosts(value: object) -> tuple[str, ...]:
    entries = _entries(value, "host names, *.suffixes, IP addresses or networks")
    try:
        AddressPolicy.of(entries)
    except SettingsInvalid as invalid:
        raise ValueError("; ".join(fault.problem for fault in invalid.faults)) from None
    return entries


def _entries(value: object, of_what: str) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError(f"must be a list of {of_what}")  # noqa: TRY004 - pydantic collects it
    return tuple(entry for part in parts if (entry := str(part).strip()))


def _by_host(most: int) -> Callable[[object], tuple[str, ...]]:
    """Returns a validator of a list of HOST=NUMBER; a file may also hold a mapping."""

    def validated(value: object) -> tuple[str, ...]:
        if isinstance(value, Mapping):
            value = [f"{host}={number}" for host, number in value.items()]
        entries = _entries(value, "HOST=NUMBER")
        try:
            HostRules.of(entries, most=most)
        except SettingsInvalid as invalid:
            raise ValueError("; ".join(fault.problem for fault in invalid.faults)) from None
        return entries

    return validated


def _word(value: str) -> str:
    if not _WORD.fullmatch(value):
        raise ValueError("must be 1 to 128 letters, digits and . _ : -, first a letter or digit")
    return value


def _type_prefix(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}\.", value):
        raise ValueError("must be letters, digits and . _ -, and end with a dot")
    return value


def _metadata_value(value: SecretStr) -> SecretStr:
    # gRPC carries metadata values as printable ASCII only.
    if not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
        raise ValueError("must be printable ASCII without spaces")
    return value


_Number = BeforeValidator(_not_boolean)
_Port = Annotated[int, _Number, Field(ge=0, le=65_535)]
_RemotePort = Annotated[int, _Number, Field(ge=1, le=65_535)]
_Milliseconds = Annotated[int, _Number, Field(ge=1, le=_MAX_MS)]
_Attempts = Annotated[int, _Number, Field(ge=0, le=_MAX_INT32)]
_Positive = Annotated[int, _Number, Field(ge=1, le=_MAX_INT32)]
_Pause = Annotated[int, _Number, Field(ge=0, le=_MAX_MS)]
_Sockets = Annotated[int, _Number, Field(ge=0, le=_MAX_SOCKETS)]
_Bytes = Annotated[int, _Number, Field(ge=65_536)]
_Seconds = Annotated[float, _Number, Field(ge=0, le=31_536_000)]
_Interval = Annotated[float, _Number, Field(gt=0, le=86_400)]
_Host = Annotated[str, AfterValidator(_host)]
_Word = Annotated[str, AfterValidator(_word)]


class Settings(BaseModel):
    """Every tunable value. Units are in the names; a port of 0 means any free one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    http_port: Annotated[_Port, Key("HttpPort", "port of the HTTP face")] = 15001
    grpc_port: Annotated[_Port, Key("GrpcPort", "port of the gRPC face")] = 15002
    bind_host: Annotated[_Host, Key("BindHost", "address that both faces bind")] = "127.0.0.1"
    advertised_host: Annotated[
        str,
        AfterValidator(_optional_host),
        Key("AdvertisedHost", "host by which peers reach this instance; empty: found out"),
    ] = ""

    api_host: Annotated[_Host, Key("VIRTUFIN_API_HOST", "host of the virtufin-api")] = "localhost"
    api_grpc_port: Annotated[
        _Port, Key("VIRTUFIN_API_GRPC_PORT", "gRPC port of the virtufin-api")
    ] = 5002
    api_key: Annotated[
        SecretStr | None,
        AfterValidator(lambda key: key and _metadata_value(key)),
        Key("VIRTUFIN_API_KEY", "key sent as x-api-key with every API call", secret=True),
    ] = None
    pubsub_name: Annotated[
        _Word, Key("pubsubName", "pub/sub component, sent with every publish")
    ] = "pubsub"
    api_route: Annotated[
        Literal["direct", "dapr"],
        BeforeValidator(_lower),
        Key("ApiRoute", "how the API is reached: direct, or dapr (through the sidecar)"),
    ] = "direct"
    api_app_id: Annotated[_Word, Key("ApiAppId", "Dapr app id of the API")] = "virtufin-api"
    dapr_grpc_port: Annotated[_RemotePort, Key("DaprGrpcPort", "gRPC port of the sidecar")] = 50001
    api_timeout_ms: Annotated[
        _Milliseconds, Key("ApiTimeoutMs", "deadline of one API call, milliseconds")
    ] = 5000
    api_max_message_bytes: Annotated[
        _Bytes, Key("ApiMaxMessageBytes", "the API's gRPC message limit, bytes")
    ] = 4_194_304

    instance_id: Annotated[
        _Word, Key("InstanceId", "name of this process among its peers; else the host name")
    ] = "localhost"
    heartbeat_interval_seconds: Annotated[
        _Interval, Key("WEBSOCKETMANAGER_HEARTBEAT_INTERVAL_SECONDS", "seconds between beats")
    ] = 10
    discovery_interval_seconds: Annotated[
        _Interval,
        Key("WEBSOCKETMANAGER_DISCOVERY_INTERVAL_SECONDS", "seconds between looks for peers"),
    ] = 30
    stale_threshold_seconds: Annotated[
        _Interval,
        Key("WEBSOCKETMANAGER_STALE_THRESHOLD_SECONDS", "seconds without a beat: a peer is dead"),
    ] = 60

    allowed_hosts: Annotated[
        tuple[str, ...],
        BeforeValidator(_hosts),
        Key(
            "AllowedHosts",
            "names, *.suffixes, addresses and networks allowed beyond the public ones",
            option="--allow-host",
        ),
    ] = ()
    max_connections: Annotated[_Positive, Key("MaxConnections", "connections of this process")] = (
        20_000
    )
    max_buffer_bytes: Annotated[
        _Bytes, Key("MaxBufferBytes", "bytes that may wait for the API, all connections together")
    ] = 268_435_456
    default_timeout_ms: Annotated[
        _Milliseconds, Key("DefaultTimeoutMs", "how long Send waits for a reply, milliseconds")
    ] = 10_000
    reconnect_base_delay_ms: Annotated[
        _Milliseconds, Key("ReconnectBaseDelayMs", "cap of the first reconnect delay, milliseconds")
    ] = 1000
    max_reconnect_delay_ms: Annotated[
        _Milliseconds, Key("MaxReconnectDelayMs", "cap of every reconnect delay, milliseconds")
    ] = 30_000
    reconnect_max_attempts: Annotated[
        _Attempts, Key("ReconnectMaxAttempts", "attempts in a row before giving up; 0: no end")
    ] = 0
    ping_interval_ms: Annotated[
        _Milliseconds, Key("PingIntervalMs", "between our pings to a server, milliseconds")
    ] = 20_000
    ping_timeout_ms: Annotated[
        _Milliseconds, Key("PingTimeoutMs", "without a pong: the session is lost, milliseconds")
    ] = 20_000
    socket_engine: Annotated[
        Literal["driver", "client"],
        BeforeValidator(_lower),
        Key("SocketEngine", "what reads sockets: driver (fast), or client (the library's own)"),
    ] = "driver"
    dials_in_parallel: Annotated[
        _Positive, Key("DialsInParallel", "dials at a time during recovery, to each host")
    ] = 64
    recovery_deadline_seconds: Annotated[
        _Seconds, Key("RecoveryDeadlineSeconds", "ready after this, even if dials remain, seconds")
    ] = 60
    dial_spacing_ms: Annotated[
        _Pause, Key("DialSpacingMs", "between two dials to one host, milliseconds; 0: none")
    ] = 2
    host_dial_spacing_ms: Annotated[
        tuple[str, ...],
        BeforeValidator(_by_host(_MAX_MS)),
        Key("HostDialSpacingMs", "the same at some hosts, as HOST=MILLISECONDS"),
    ] = ()
    max_connections_per_host: Annotated[
        _Sockets, Key("MaxConnectionsPerHost", "open at a time, the others wait; 0: no bound")
    ] = 0
    host_max_connections: Annotated[
        tuple[str, ...],
        BeforeValidator(_by_host(_MAX_SOCKETS)),
        Key("HostMaxConnections", "the same at some hosts, as HOST=NUMBER"),
    ] = ()
    disconnected_retention_seconds: Annotated[
        _Seconds, Key("DisconnectedRetentionSeconds", "an ended connection stays listed, seconds")
    ] = 3600
    shutdown_grace_seconds: Annotated[
        _Seconds, Key("ShutdownGraceSeconds", "how long a graceful stop may take, seconds")
    ] = 10
    lifecycle_type_prefix: Annotated[
        str,
        AfterValidator(_type_prefix),
        Key("LifecycleTypePrefix", "ce-type of lifecycle events before the state"),
    ] = LIFECYCLE_TYPE_PREFIX

    secrets_folder: Annotated[
        str, Key("SecretsFolder", "folder with one file per secret; empty: environment alone")
    ] = ""
    message_log_folder: Annotated[
        str,
        Key(
            "MessageLogFolder",
            "folder on a local disk for messages of spill and durable; empty: both are refused",
        ),
    ] = ""
    message_log_max_bytes: Annotated[
        _Bytes,
        Key("MessageLogMaxBytes", "bytes that the message log may hold, all connections together"),
    ] = 1_073_741_824
    profiles_folder: Annotated[
        str, Key("ProfilesFolder", "folder with profiles in YAML; empty: those that are shipped")
    ] = ""

    topic_rules: Annotated[
        Literal["platform", "any"],
        BeforeValidator(_lower),
        Key("TopicRules", "topics the embedded API accepts: platform or any"),
    ] = "platform"
    database: Annotated[
        str,
        Field(min_length=1),
        Key("DatabasePath", "SQLite file of the embedded API, or :memory:"),
    ] = "websocketmanager.sqlite3"

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        BeforeValidator(_lower),
        Key("LogLevel", "debug, info, warning or error"),
    ] = "info"
    log_format: Annotated[
        Literal["auto", "text", "json"],
        BeforeValidator(_lower),
        Key("LogFormat", "text, json or auto (text on a terminal, JSON elsewhere)"),
    ] = "auto"


#: Every key by field, in the order of documentation.
KEYS: Mapping[str, Key] = {
    field: next(note for note in info.metadata if isinstance(note, Key))
    for field, info in Settings.model_fields.items()
}


def option_of(field: str) -> str:
    """Returns the command line's spelling of a field."""
    return KEYS[field].option or "--" + field.replace("_", "-")


@dataclass(frozen=True, slots=True)
class _Rule:
    """What must hold between two valid fields; the first one is blamed."""

    fields: tuple[str, str]
    holds: Callable[[Any, Any], bool]
    problem: str


_RULES = (
    _Rule(
        ("max_reconnect_delay_ms", "reconnect_base_delay_ms"),
        lambda most, base: most >= base,
        "must be at least {other} ({value})",
    ),
    _Rule(
        ("stale_threshold_seconds", "heartbeat_interval_seconds"),
        lambda stale, beat: stale > 2 * beat,
        "must be more than twice {other} ({value}), or a peer that missed one beat counts as dead",
    ),
    _Rule(
        ("grpc_port", "http_port"),
        lambda grpc, http: grpc != http or grpc == 0,
        "must differ from {other} ({value})",
    ),
    _Rule(
        ("max_buffer_bytes", "api_max_message_bytes"),
        lambda buffer, message: buffer >= message,
        "must be at least {other} ({value}), or one message may never fit",
    ),
)


@dataclass(frozen=True, slots=True)
class Given:
    """One value as a source gave it: `origin` is command line, environment, file or default."""

    value: object
    origin: str
    spelling: str


def load_settings(
    *, cli: Mapping[str, object], environ: Mapping[str, str], file: Mapping[str, object]
) -> Settings:
    """Returns the settings of all sources together: cli, then environ, then file, then defaults.

    Args:
        cli: by field name; None means not given.
        environ: the whole environment; names count in any case, empty values do not count.
            HOSTNAME stands in for a missing InstanceId.
        file: by key; None means not given, an unknown key is a fault.

    Raises:
        SettingsInvalid: with every fault of every source.
    """
    faults = list(_unknown_keys(file))
    given = sources(cli=cli, environ=environ, file=file)
    values = {field: one.value for field, one in given.items() if one.origin != "default"}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as invalid:
        errors = {str(error["loc"][0]): error for error in invalid.errors(include_url=False)}
        faults += [_fault(given[field], field, error) for field, error in errors.items()]
        good = {field: value for field, value in values.items() if field not in errors}
        faults += _broken_rules(Settings.model_validate(good), given, except_for=errors.keys())
        raise SettingsInvalid(*faults) from None
    if faults := [*faults, *_broken_rules(settings, given, except_for=())]:
        raise SettingsInvalid(*faults)
    return settings


def sources(
    *, cli: Mapping[str, object], environ: Mapping[str, str], file: Mapping[str, object]
) -> Mapping[str, Given]:
    """Returns, for every field, the value that counts and where it came from; validates nothing."""
    return {field: _given(field, cli, environ, file) for field in KEYS}


def parse_file(text: str, *, path: str) -> Mapping[str, object]:
    """Returns the keys of a configuration file in YAML; `path` is for the fault only.

    Raises:
        SettingsInvalid: not YAML, not a mapping, or a key twice.
    """
    try:
        content = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as broken:
        problem = " ".join(str(broken).split())
        raise SettingsInvalid(Fault(path, f"is not valid YAML: {problem}")) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsInvalid(Fault(path, "must hold lines of the form `Key: value`"))
    return {str(key): value for key, value in content.items()}


class _UniqueKeys(yaml.SafeLoader):
    """SafeLoader lets the last of equal keys win in silence; here they are an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = repr(self.construct_object(key_node, deep=True))
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} stands there twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _given(
    field: str, cli: Mapping[str, object], environ: Mapping[str, str], file: Mapping[str, object]
) -> Given:
    key = KEYS[field]
    if (value := cli.get(field)) not in (None, [], ()):
        return Given(value, "command line", option_of(field))
    if found := _in_environment(key.name, environ):
        return found
    if (value := file.get(key.name)) is not None:
        return Given(value, "file", key.name)
    if field == "instance_id" and (found := _in_environment("HOSTNAME", environ)):
        return found
    return Given(Settings.model_fields[field].default, "default", key.name)


def _in_environment(name: str, environ: Mapping[str, str]) -> Given | None:
    """The exact spelling wins over others, so that LOGLEVEL of another program may stay."""
    spellings = sorted(
        (spelled for spelled in environ if spelled.lower() == name.lower() and environ[spelled]),
        key=lambda spelled: (spelled != name, spelled),
    )
    if not spellings:
        return None
    return Given(environ[spellings[0]], "environment", spellings[0])


def _unknown_keys(file: Mapping[str, object]) -> Iterator[Fault]:
    known = {key.name.lower(): key.name for key in KEYS.values()}
    for name in file:
        if known.get(name.lower()) == name:
            continue
        close = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"; did you mean {known[close[0]]}?" if close else ""
        yield Fault(name, f"is not a key (file){hint}")


def _broken_rules(
    settings: Settings, given: Mapping[str, Given], *, except_for: Any
) -> Iterator[Fault]:
    for rule in _RULES:
        blamed, other = rule.fields
        if blamed in except_for or other in except_for:
            continue
        if rule.holds(getattr(settings, blamed), getattr(settings, other)):
            continue
        if given[blamed].origin == "default":
            # The fault lies with the value that somebody set; say it at that key.
            yield Fault(
                given[other].spelling,
                f"does not fit ({given[other].origin}): {KEYS[blamed].name} "
                f"({getattr(settings, blamed)}) "
                + rule.problem.format(other=KEYS[other].name, value=getattr(settings, other)),
            )
            continue
        problem = rule.problem.format(other=KEYS[other].name, value=getattr(settings, other))
        yield Fault(given[blamed].spelling, f"{problem} ({given[blamed].origin})")


_SENTENCES = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "string_type": "must be a text: put it in quotes",
    "string_too_short": "must not be empty",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}


def _fault(given: Given, field: str, error: ErrorDetails) -> Fault:
    sentence = _SENTENCES.get(error["type"], error["msg"]).format_map(error.get("ctx", {}))
    shown = repr(given.value)
    if len(shown) > _SHOWN_LENGTH:
        shown = shown[:_SHOWN_LENGTH] + "…"
    # A secret never shows, not even a wrong one.
    but = "" if KEYS[field].secret else f", not {shown}"
    return Fault(given.spelling, f"{sentence}{but} ({given.origin})")
