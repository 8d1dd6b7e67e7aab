"""Every key: how each source spells it, its type, its meaning and its default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from websocketmanager.domain.envelope import LIFECYCLE_TYPE_PREFIX
from websocketmanager.settings.fields import (
    AllowedHosts,
    AnyCase,
    ApiKey,
    Attempts,
    Bytes,
    Host,
    Interval,
    Milliseconds,
    MillisecondsByHost,
    OptionalHost,
    Pause,
    Port,
    Positive,
    RemotePort,
    Seconds,
    Sockets,
    SocketsByHost,
    TypePrefix,
    Word,
)


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


class Settings(BaseModel):
    """Every tunable value. Units are in the names; a port of 0 means any free one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    http_port: Annotated[Port, Key("HttpPort", "port of the HTTP face")] = 15001
    grpc_port: Annotated[Port, Key("GrpcPort", "port of the gRPC face")] = 15002
    bind_host: Annotated[Host, Key("BindHost", "address that both faces bind")] = "127.0.0.1"
    advertised_host: Annotated[
        OptionalHost,
        Key("AdvertisedHost", "host by which peers reach this instance; empty: found out"),
    ] = ""

    api_host: Annotated[Host, Key("VIRTUFIN_API_HOST", "host of the virtufin-api")] = "localhost"
    api_grpc_port: Annotated[
        Port, Key("VIRTUFIN_API_GRPC_PORT", "gRPC port of the virtufin-api")
    ] = 5002
    api_key: Annotated[
        ApiKey,
        Key("VIRTUFIN_API_KEY", "key sent as x-api-key with every API call", secret=True),
    ] = None
    pubsub_name: Annotated[
        Word, Key("pubsubName", "pub/sub component, sent with every publish")
    ] = "pubsub"
    api_route: Annotated[
        Literal["direct", "dapr"],
        AnyCase,
        Key("ApiRoute", "how the API is reached: direct, or dapr (through the sidecar)"),
    ] = "direct"
    api_app_id: Annotated[Word, Key("ApiAppId", "Dapr app id of the API")] = "virtufin-api"
    dapr_grpc_port: Annotated[RemotePort, Key("DaprGrpcPort", "gRPC port of the sidecar")] = 50001
    api_timeout_ms: Annotated[
        Milliseconds, Key("ApiTimeoutMs", "deadline of one API call, milliseconds")
    ] = 5000
    api_max_message_bytes: Annotated[
        Bytes, Key("ApiMaxMessageBytes", "the API's gRPC message limit, bytes")
    ] = 4_194_304

    instance_id: Annotated[
        Word, Key("InstanceId", "name of this process among its peers; else the host name")
    ] = "localhost"
    heartbeat_interval_seconds: Annotated[
        Interval, Key("WEBSOCKETMANAGER_HEARTBEAT_INTERVAL_SECONDS", "seconds between beats")
    ] = 10
    discovery_interval_seconds: Annotated[
        Interval,
        Key(
            "WEBSOCKETMANAGER_DISCOVERY_INTERVAL_SECONDS",
            "seconds between looks for peers; reserved: nothing looks for peers yet",
        ),
    ] = 30
    stale_threshold_seconds: Annotated[
        Interval,
        Key(
            "WEBSOCKETMANAGER_STALE_THRESHOLD_SECONDS",
            "seconds without a beat: a peer is dead; reserved: nothing takes over from peers yet",
        ),
    ] = 60

    allowed_hosts: Annotated[
        AllowedHosts,
        Key(
            "AllowedHosts",
            "names, *.suffixes, addresses and networks allowed beyond the public ones",
            option="--allow-host",
        ),
    ] = ()
    max_connections: Annotated[Positive, Key("MaxConnections", "connections of this process")] = (
        20_000
    )
    max_buffer_bytes: Annotated[
        Bytes, Key("MaxBufferBytes", "bytes that may wait for the API, all connections together")
    ] = 268_435_456
    default_timeout_ms: Annotated[
        Milliseconds, Key("DefaultTimeoutMs", "how long Send waits for a reply, milliseconds")
    ] = 10_000
    reconnect_base_delay_ms: Annotated[
        Milliseconds, Key("ReconnectBaseDelayMs", "cap of the first reconnect delay, milliseconds")
    ] = 1000
    max_reconnect_delay_ms: Annotated[
        Milliseconds, Key("MaxReconnectDelayMs", "cap of every reconnect delay, milliseconds")
    ] = 30_000
    reconnect_max_attempts: Annotated[
        Attempts, Key("ReconnectMaxAttempts", "attempts in a row before giving up; 0: no end")
    ] = 0
    ping_interval_ms: Annotated[
        Milliseconds, Key("PingIntervalMs", "between our pings to a server, milliseconds")
    ] = 20_000
    ping_timeout_ms: Annotated[
        Milliseconds, Key("PingTimeoutMs", "without a pong: the session is lost, milliseconds")
    ] = 20_000
    socket_engine: Annotated[
        Literal["driver", "client"],
        AnyCase,
        Key("SocketEngine", "what reads sockets: driver (fast), or client (the library's own)"),
    ] = "driver"
    dials_in_parallel: Annotated[
        Positive, Key("DialsInParallel", "dials at a time during recovery, to each host")
    ] = 64
    recovery_deadline_seconds: Annotated[
        Seconds, Key("RecoveryDeadlineSeconds", "ready after this, even if dials remain, seconds")
    ] = 60
    dial_spacing_ms: Annotated[
        Pause, Key("DialSpacingMs", "between two dials to one host, milliseconds; 0: none")
    ] = 2
    host_dial_spacing_ms: Annotated[
        MillisecondsByHost,
        Key("HostDialSpacingMs", "the same at some hosts, as HOST=MILLISECONDS"),
    ] = ()
    max_connections_per_host: Annotated[
        Sockets, Key("MaxConnectionsPerHost", "open at a time, the others wait; 0: no bound")
    ] = 0
    host_max_connections: Annotated[
        SocketsByHost,
        Key("HostMaxConnections", "the same at some hosts, as HOST=NUMBER"),
    ] = ()
    disconnected_retention_seconds: Annotated[
        Seconds, Key("DisconnectedRetentionSeconds", "an ended connection stays listed, seconds")
    ] = 3600
    shutdown_grace_seconds: Annotated[
        Seconds, Key("ShutdownGraceSeconds", "how long a graceful stop may take, seconds")
    ] = 10
    lifecycle_type_prefix: Annotated[
        TypePrefix,
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
        Bytes,
        Key("MessageLogMaxBytes", "bytes that the message log may hold, all connections together"),
    ] = 1_073_741_824
    profiles_folder: Annotated[
        str, Key("ProfilesFolder", "folder with profiles in YAML; empty: those that are shipped")
    ] = ""

    topic_rules: Annotated[
        Literal["platform", "any"],
        AnyCase,
        Key("TopicRules", "topics the embedded API accepts: platform or any"),
    ] = "platform"
    database: Annotated[
        str,
        Field(min_length=1),
        Key("DatabasePath", "SQLite file of the embedded API, or :memory:"),
    ] = "websocketmanager.sqlite3"

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        AnyCase,
        Key("LogLevel", "debug, info, warning or error"),
    ] = "info"
    log_format: Annotated[
        Literal["auto", "text", "json"],
        AnyCase,
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
