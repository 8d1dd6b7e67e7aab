"""Log records to one stream: text for people, one JSON object a line for machines.

Standard library logging, plus the ids of the current OpenTelemetry span. Nothing here decides
what is logged; `journal.py` does.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, TextIO

from opentelemetry import trace

from websocketmanager.adapters.telemetry.values import fields_of
from websocketmanager.domain.facts import Fact
from websocketmanager.domain.redaction import redact

#: The root of our own log records; nothing of ours logs elsewhere.
OURS = "websocketmanager"
#: Their debug records hold headers and payloads, so they never go below warning.
LIBRARIES = ("asyncio", "grpc", "opentelemetry", "uvicorn", "websockets")
#: They warn of every odd header of a caller, up to 180 times a call.
CHATTY = ("opentelemetry.baggage", "opentelemetry.propagators", "opentelemetry.trace")

LogFormat = Literal["auto", "text", "json"]

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
#: Fields of several lines, shown below a text record instead of inside its sentence.
_TRACE_FIELD = "trace"
#: Control characters, line separators, direction marks: a peer's close reason must not forge a
#: record (CWE-117) nor steer a terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")


def level_number(name: str) -> int:
    """Returns the number of a level's name.

    Raises:
        ValueError: the name is none of debug, info, warning, error, critical.
    """
    try:
        return _LEVELS[name.lower()]
    except KeyError:
        raise ValueError(f"{name!r} is none of the levels {', '.join(_LEVELS)}") from None


def configure_logging(level: str, log_format: LogFormat, stream: TextIO) -> None:
    """Sends our records, and the libraries' warnings, to a stream.

    Safe to call again: the last call wins. With `auto` a terminal gets text and anything else
    JSON lines.

    Raises:
        ValueError: the level's name is unknown.
    """
    number = level_number(level)
    text = log_format == "text" or (log_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_TextFormatter() if text else _JsonFormatter())
    for name in (OURS, *LIBRARIES):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(number if name == OURS else max(number, logging.WARNING))
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)


def scrubbed(text: str) -> str:
    """Redacts every URL in the text.

    Facts already carry redacted URLs; this is the last border, for what a library's exception
    or a traceback quotes.
    """
    return _URL.sub(lambda found: redact(found[0]), text) if "://" in text else text


class _TextFormatter(logging.Formatter):
    """Local time, level, sentence; the connection where the sentence does not name it."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        at = datetime.fromtimestamp(record.created).astimezone()
        line = f"{at:%H:%M:%S}.{int(record.msecs):03d} {record.levelname.lower():<7} "
        line += _one_line(record.getMessage())
        connection_id = str(fields.get("connection_id", ""))
        if connection_id and connection_id not in line:
            line += f" [connection {_one_line(connection_id)}]"
        if not isinstance(_fact(record), Fact):
            line += f" [{record.name}]"
        details = _details(record, fields)
        return line + "".join(f"\n    {_one_line(part)}" for part in details.splitlines())


class _JsonFormatter(logging.Formatter):
    """One object a line; see docs/operations.md for the fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(_fields(record))
        at = datetime.fromtimestamp(record.created, UTC)
        entry: dict[str, object] = {
            "time": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "message": scrubbed(record.getMessage()),
        }
        fact = _fact(record)
        if isinstance(fact, Fact):
            entry["fact"] = type(fact).__name__
        else:
            entry["logger"] = record.name
        if "connection_id" in fields:
            entry["connection_id"] = fields.pop("connection_id")
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            entry["trace_id"] = trace.format_trace_id(context.trace_id)
            entry["span_id"] = trace.format_span_id(context.span_id)
        details = _details(record, fields)
        if details:
            fields[_TRACE_FIELD] = details
        if fields:
            entry["fields"] = {
                name: scrubbed(value) if isinstance(value, str) else value
                for name, value in fields.items()
            }
        # ASCII output: lone surrogates and line separators stay escaped, so that every record
        # is one line in any encoding.
        return json.dumps(entry, default=str, separators=(",", ":"))


def _fact(record: logging.LogRecord) -> object:
    return getattr(record, "fact", None)


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    fact = _fact(record)
    return fields_of(fact) if isinstance(fact, Fact) else {}


def _details(record: logging.LogRecord, fields: Mapping[str, object]) -> str:
    """Returns the traceback that goes with a record, or the empty string."""
    if record.exc_info:
        return scrubbed(logging.Formatter().formatException(record.exc_info))
    return scrubbed(str(fields.get(_TRACE_FIELD, "")))


def _one_line(text: str) -> str:
    # "replace": a stream without UTF-8 surrogates must not lose the record.
    printable = scrubbed(text).encode("utf-8", "replace").decode("utf-8")
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), printable)
