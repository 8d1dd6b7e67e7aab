"""How much is allowed: what a caller may ask for, judged field by field, and the service's bounds.

Each judge returns the faults it found, so that a caller learns all of them at once.
Lengths are counted in characters (Unicode code points).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from websocketmanager.domain.json_pointer import PointerFault, parse_pointer
from websocketmanager.domain.model import BufferOptions, ConnectionOptions, FirstDial
from websocketmanager.domain.options import Overflow
from websocketmanager.errors import Fault

MAX_TAGS = 50
MAX_TAG_KEY_LENGTH = 128
MAX_TAG_VALUE_LENGTH = 1024
MAX_TOPIC_LENGTH = 256
MAX_NAME_LENGTH = 256
MAX_CONTENT_TYPE_LENGTH = 256
MAX_TIMEOUT_MS = 3_600_000
MAX_DELAY_MS = 3_600_000
MAX_BUFFER_MESSAGES = 1_000_000
MIN_BUFFER_BYTES = 1024
MAX_BUFFER_BYTES = 1_073_741_824
#: Wildcards of the brokers that a topic may end in.
WILDCARDS = "*>#"
#: How much of a caller's text a fault repeats.
_SHOWN_LENGTH = 40

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 §5.6.2 calls it so
_QUOTED = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*"'
#: RFC 9110 §8.3.1.
_MEDIA_TYPE = re.compile(
    # Possessive, so that blanks between semicolons have one reading only.
    rf"{_TOKEN}/{_TOKEN}(?:[ \t]*+;[ \t]*+(?:{_TOKEN}=(?:{_TOKEN}|{_QUOTED}))?)*",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """The service's own bounds.

    Attributes:
        max_connections: connections of one process.
        max_pending_sends: `Send` calls that wait for a reply, per connection.
        max_message_bytes: of one message, unless a connection asks for less.
        max_buffer_bytes: that wait between sockets and topics, in the whole process.
        has_message_log: whether there is a folder for a log on the local disk.
    """

    max_connections: int = 20_000
    max_pending_sends: int = 1024
    max_message_bytes: int = 3_145_728
    max_buffer_bytes: int = 268_435_456
    has_message_log: bool = False


def connection_id_faults(text: str, path: str = "id") -> list[Fault]:
    """Judges the spelling of a connection id: a UUID in either case."""
    if not text:
        return [Fault(path, "must not be empty")]
    if not _UUID.fullmatch(text):
        return [Fault(path, f"{shown(text)} is not a UUID (8-4-4-4-12 hexadecimal digits)")]
    return []


def name_faults(name: str, path: str = "name") -> list[Fault]:
    """Judges a connection's name."""
    return line_faults(name, path, MAX_NAME_LENGTH)


def topic_faults(topic: str, path: str = "topic") -> list[Fault]:
    """Judges a topic's spelling; which topics exist is for the API to say."""
    faults = line_faults(topic, path, MAX_TOPIC_LENGTH)
    if len(topic) > MAX_TOPIC_LENGTH:
        return faults
    if any(map(str.isspace, topic)):
        faults.append(Fault(path, "must not contain white space"))
    if wildcards := [character for character in WILDCARDS if character in topic]:
        faults.append(Fault(path, f"must not contain the wildcard {' '.join(wildcards)}"))
    if topic and not all(topic.split(".")):
        faults.append(Fault(path, "must not have an empty segment between dots"))
    return faults


def tags_faults(tags: Mapping[str, str], path: str = "tags") -> list[Fault]:
    """Judges all tags of a connection."""
    faults = []
    if len(tags) > MAX_TAGS:
        faults.append(Fault(path, f"must be at most {MAX_TAGS}, not {len(tags)}"))
    # A hostile map may hold a million: beyond the bound the count alone is fault enough.
    for key, value in islice(tags.items(), MAX_TAGS):
        at = f"{path}[{shown(key)}]"
        faults += tag_key_faults(key, f"{at}.key") + tag_value_faults(value, f"{at}.value")
    return faults


def tag_key_faults(key: str, path: str = "key") -> list[Fault]:
    """Judges a tag's key."""
    return line_faults(key, path, MAX_TAG_KEY_LENGTH)


def tag_value_faults(value: str, path: str = "value") -> list[Fault]:
    """Judges a tag's value, which may be empty."""
    return length_faults(value, path, MAX_TAG_VALUE_LENGTH)


def content_type_faults(content_type: str, path: str = "content_type") -> list[Fault]:
    """Judges a media type; empty is allowed."""
    if faults := length_faults(content_type, path, MAX_CONTENT_TYPE_LENGTH):
        return faults
    if content_type and not _MEDIA_TYPE.fullmatch(content_type):
        return [Fault(path, f"{shown(content_type)} is not a media type (type/subtype)")]
    return []


def timeout_faults(timeout_ms: int, path: str = "timeout_ms") -> list[Fault]:
    """Judges a time to wait in milliseconds; 0 means the service's default."""
    return range_faults(timeout_ms, path, 0, MAX_TIMEOUT_MS)


def options_faults(
    options: ConnectionOptions, *, auto_reconnect: bool, limits: Limits, path: str = "options"
) -> list[Fault]:
    """Judges how a connection delivers and comes back; zero means the default.

    What it says, hears and expects is judged in `option_faults`.

    Args:
        options: what the caller chose.
        auto_reconnect: whether the connection dials again when it is lost.
        limits: the service's bounds.
        path: of the options within the request.
    """
    reconnect, buffer = options.reconnect, options.buffer
    base, longest = reconnect.base_delay_ms, reconnect.max_delay_ms
    ranges = (
        ("reconnect.base_delay_ms", base, 1, MAX_DELAY_MS),
        ("reconnect.max_delay_ms", longest, 1, MAX_DELAY_MS),
        ("reconnect.max_attempts", reconnect.max_attempts, 0, None),
        ("reconnect.stable_after_ms", reconnect.stable_after_ms, 1, MAX_DELAY_MS),
        ("max_message_bytes", options.max_message_bytes, 1, limits.max_message_bytes),
        ("buffer.max_messages", buffer.max_messages, 1, MAX_BUFFER_MESSAGES),
        ("buffer.max_bytes", buffer.max_bytes, MIN_BUFFER_BYTES, MAX_BUFFER_BYTES),
    )
    faults = [
        fault
        for name, value, least, most in ranges
        if value  # zero is the default
        for fault in range_faults(value, f"{path}.{name}", least, most)
    ]
    if 0 < longest < base:
        problem = f"must be at least base_delay_ms ({base}), not {longest}"
        faults.append(Fault(f"{path}.reconnect.max_delay_ms", problem))
    if reconnect.first_dial is FirstDial.RETRY and not auto_reconnect:
        problem = "FIRST_DIAL_RETRY needs auto_reconnect"
        faults.append(Fault(f"{path}.reconnect.first_dial", problem))
    return faults + _overflow_faults(buffer, f"{path}.buffer", limits)


def _overflow_faults(buffer: BufferOptions, path: str, limits: Limits) -> list[Fault]:
    faults = []
    if (buffer.overflow is Overflow.CONFLATE) != bool(buffer.conflate_pointer):
        problem = "must be given with OVERFLOW_CONFLATE, and only so"
        faults.append(Fault(f"{path}.conflate_pointer", problem))
    try:
        parse_pointer(buffer.conflate_pointer)
    except PointerFault as error:
        faults.append(Fault(f"{path}.conflate_pointer", str(error)))
    if buffer.durable and buffer.overflow not in {Overflow.BLOCK, Overflow.SPILL}:
        problem = "goes with OVERFLOW_BLOCK and OVERFLOW_SPILL: the others give messages up"
        faults.append(Fault(f"{path}.durable", problem))
    if buffer.logged and not limits.has_message_log:
        name = "durable" if buffer.durable else "overflow"
        problem = "needs a folder on the local disk: the service's setting MessageLogFolder"
        faults.append(Fault(f"{path}.{name}", problem))
    return faults


def shown(text: str) -> str:
    """Returns a caller's text in quotes, short and on one line, for a fault's sentence."""
    clipped = text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…"
    return repr(clipped)


def line_faults(text: str, path: str, longest: int) -> list[Fault]:
    """Judges a text that must not be empty, nor have control characters."""
    if not text:
        return [Fault(path, "must not be empty")]
    # What is too long is not read further: it may be megabytes.
    if faults := length_faults(text, path, longest):
        return faults
    if any(unicodedata.category(character) == "Cc" for character in text):
        return [Fault(path, "must not contain control characters")]
    return []


def length_faults(text: str, path: str, longest: int) -> list[Fault]:
    """Judges a text's length alone."""
    if len(text) > longest:
        return [Fault(path, f"must have at most {longest} characters, not {len(text)}")]
    return []


def range_faults(value: int, path: str, least: int, most: int | None) -> list[Fault]:
    """Judges a number; None: as large as it likes."""
    if most is None and value < least:
        return [Fault(path, f"must be at least {least}, not {value}")]
    if most is not None and not least <= value <= most:
        return [Fault(path, f"must be from {least} to {most}, not {value}")]
    return []
