"""Which secrets a connection needs, and values of secrets that do not show themselves. Pure."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Final

from websocketmanager.domain import template
from websocketmanager.domain.model import ConnectionSpec
from websocketmanager.domain.options import Payload
from websocketmanager.domain.redaction import HIDDEN
from websocketmanager.domain.template import TemplateFault
from websocketmanager.domain.url_template import parse_url_template

#: Shorter values are not searched for in foreign text: they would be found everywhere.
_MIN_SCRUBBED_LENGTH: Final = 4
#: Longer ones are keys and certificates, which no peer is told.
_MAX_SPELLED_LENGTH: Final = 512
#: One of them is in every spelling that is not the value itself.
_MARKS: Final = frozenset("\\%+")


class SecretValues(Mapping[str, str]):
    """Values by name. Neither `repr` nor `str` shows one."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<SecretValues {', '.join(sorted(self._values)) or 'none'}>"

    def scrubbed(self, text: str) -> str:
        """Returns foreign text (a peer's words, an error's) without the values it may echo.

        They are found as they are and as URLs and JSON spell them.
        """
        spelled = not _MARKS.isdisjoint(text)
        # The longest first: one value may be a part of another.
        for value in sorted(self._values.values(), key=len, reverse=True):
            if len(value) < _MIN_SCRUBBED_LENGTH:
                continue
            text = text.replace(value, HIDDEN)
            if spelled and len(value) <= _MAX_SPELLED_LENGTH:
                text = re.sub("".join(map(_spellings, value)), HIDDEN, text)
        if spelled:
            re.purge()  # expressions are remembered, and these are secrets at length
        return text


def _spellings(character: str) -> str:
    """Returns a regular expression for one character: JSON-escaped, percent-encoded or itself."""
    short = json.dumps(character, ensure_ascii=False)[1:-1]
    units = character.encode("utf-16-be", "surrogatepass")
    escaped = "".join(rf"\\u{unit:04x}" for (unit,) in struct.iter_unpack(">H", units))
    encoded = "".join(f"%{byte:02x}" for byte in character.encode(errors="surrogatepass"))
    spellings = [f"(?i:{escaped}|{encoded})", re.escape(short), re.escape(character)]
    spellings += {"/": [r"\\/"], " ": [r"\+"]}.get(character, [])
    # Atomic, so that no text makes the search go back and forth.
    return f"(?>{'|'.join(spellings)})"


def secret_names(spec: ConnectionSpec) -> frozenset[str]:
    """Returns the names of all secrets that an attempt to connect needs."""
    options = spec.options
    names: set[str] = set()
    for url in (spec.url, options.handshake.proxy):
        names |= _names_in(url, in_url=True)
    for text in _texts(spec):
        names |= _names_in(text)
    return frozenset(names)


def _texts(spec: ConnectionSpec) -> Iterator[str]:
    """Yields the templates of the options that are not URLs."""
    options = spec.options
    tls = options.handshake.tls
    yield from (header.value for header in options.handshake.headers)
    yield from (tls.ca_pem, tls.certificate_pem, tls.key_pem)
    for payload in _payloads(spec):
        if payload is not None:
            yield payload.text


def _payloads(spec: ConnectionSpec) -> Iterator[Payload | None]:
    options = spec.options
    yield from (step.send for step in options.opening.steps)
    for subscription in options.subscriptions:
        yield subscription.subscribe
        yield subscription.unsubscribe
    if options.liveness.heartbeat is not None:
        yield options.liveness.heartbeat.send


def _names_in(text: str, *, in_url: bool = False) -> frozenset[str]:
    if "${" not in text:
        return frozenset()
    try:
        parsed = parse_url_template(text) if in_url else template.parse(text)
    except TemplateFault:
        # An attempt will say so; it needs no secret to find out.
        return frozenset()
    return parsed.secrets
