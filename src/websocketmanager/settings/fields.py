"""What one value may be: the types that keys have, with their bounds and their sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from websocketmanager.domain.address_policy import AddressPolicy
from websocketmanager.domain.host_rules import HostRules
from websocketmanager.domain.hosts import Malformed, read_address, read_host
from websocketmanager.errors import SettingsInvalid

#: One hour: no delay or timeout of this service makes sense beyond it.
_MAX_MS = 3_600_000
_MAX_INT32 = 2**31 - 1
#: No host needs more sockets of one process than it may have connections.
_MAX_SOCKETS = 1_000_000
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


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
Port = Annotated[int, _Number, Field(ge=0, le=65_535)]
RemotePort = Annotated[int, _Number, Field(ge=1, le=65_535)]
Milliseconds = Annotated[int, _Number, Field(ge=1, le=_MAX_MS)]
Attempts = Annotated[int, _Number, Field(ge=0, le=_MAX_INT32)]
Positive = Annotated[int, _Number, Field(ge=1, le=_MAX_INT32)]
Pause = Annotated[int, _Number, Field(ge=0, le=_MAX_MS)]
Sockets = Annotated[int, _Number, Field(ge=0, le=_MAX_SOCKETS)]
Bytes = Annotated[int, _Number, Field(ge=65_536)]
Seconds = Annotated[float, _Number, Field(ge=0, le=31_536_000)]
Interval = Annotated[float, _Number, Field(gt=0, le=86_400)]
Host = Annotated[str, AfterValidator(_host)]
OptionalHost = Annotated[str, AfterValidator(_optional_host)]
Word = Annotated[str, AfterValidator(_word)]
TypePrefix = Annotated[str, AfterValidator(_type_prefix)]
ApiKey = Annotated[SecretStr | None, AfterValidator(lambda key: key and _metadata_value(key))]
AllowedHosts = Annotated[tuple[str, ...], BeforeValidator(_hosts)]
MillisecondsByHost = Annotated[tuple[str, ...], BeforeValidator(_by_host(_MAX_MS))]
SocketsByHost = Annotated[tuple[str, ...], BeforeValidator(_by_host(_MAX_SOCKETS))]
#: Of a word out of a few, which counts in any case.
AnyCase = BeforeValidator(_lower)
