"""Hides what may be secret in a URL. Pure; stdlib only.

Hidden are user information, query values whose names are not known to be harmless, the fragment,
and path segments that look like a key (`/ws/<listen key>`, `/v3/<project key>`). Everything else
stays byte for byte, so that a URL without secrets comes back unchanged. No function raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, unquote_plus

HIDDEN: Final = "***"

#: Query parameters (lower case) whose values venues document as plain choices.
# fmt: off
_HARMLESS: Final = frozenset(
    {
        "asset", "assets", "book", "category", "chain", "channel", "channels", "coin", "compress",
        "compressed", "compression", "currency", "depth", "encoding", "event", "events", "exchange",
        "feed", "feeds", "format", "freq", "frequency", "instid", "instrument", "instruments",
        "insttype", "interval", "lang", "language", "level", "levels", "limit", "locale", "market",
        "markets", "mode", "network", "pair", "pairs", "period", "product", "product_id",
        "product_ids", "products", "protocol", "resolution", "room", "snapshot", "source", "speed",
        "stream", "streams", "symbol", "symbols", "tick", "ticker", "tickers", "timeunit", "topic",
        "topics", "transport", "type", "v", "venue", "version",
    }
)
# fmt: on

#: An optional scheme, then slashes of either kind, then the authority.
_PREFIX: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?[/\\]*")
_AUTHORITY_END: Final = re.compile(r"[/?#\\]")
_PLACE: Final = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::[0-9]*)?")
_PARAMETERS: Final = re.compile(r"([&;])")
_VALUES: Final = re.compile(r"[/,|+: ]")
#: What a key is made of; stream names have other characters, few digits or one case.
_ALPHANUMERIC_RUN: Final = re.compile(r"[A-Za-z0-9]{20,}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_.~%=+-]{24,}")
#: Shorter secrets are not searched for in foreign text: they would be found everywhere.
_MIN_SCRUBBED_LENGTH: Final = 4


def redact(url: str) -> str:
    """Returns the URL, or any text, with what may be secret replaced by `***`."""
    return "".join(HIDDEN if secret else text for text, secret in _pieces(url))


def scrub(text: str, url: str) -> str:
    """Returns foreign text (a peer's words) without the secrets of the URL that it may echo."""
    secrets: set[str] = set()
    for piece, secret in _pieces(url):
        if secret:
            # User information is two secrets, and a peer echoes what it decoded.
            for part in (piece, *piece.split(":", 1)):
                secrets |= {part, unquote(part), unquote_plus(part)}
    for secret_text in sorted(secrets, key=len, reverse=True):
        if len(secret_text) >= _MIN_SCRUBBED_LENGTH and secret_text != HIDDEN:
            text = text.replace(secret_text, HIDDEN)
    return text


def _pieces(url: str) -> Iterator[tuple[str, bool]]:
    """Cuts the text into pieces that join to it, each with whether it is secret."""
    prefix = _PREFIX.match(url)
    start = prefix.end() if prefix else 0
    yield url[:start], False
    end = match.start() if (match := _AUTHORITY_END.search(url, start)) else len(url)
    user, at, host = url[start:end].rpartition("@")
    if not at and not _PLACE.fullmatch(host) and "@" in url[end:]:
        # No host and port: a password with an unencoded slash, which hides the real end.
        end = url.rindex("@") + 1
        user, at, host = url[start : end - 1], "@", ""
    if at:
        yield user, bool(user)
    yield at + host, False
    rest, hash_sign, fragment = url[end:].partition("#")
    path, question, query = rest.partition("?")
    yield from _path_pieces(path)
    yield question, False
    yield from _query_pieces(query)
    yield hash_sign, False
    yield fragment, bool(fragment)


def _path_pieces(path: str) -> Iterator[tuple[str, bool]]:
    for number, segment in enumerate(path.split("/")):
        if number:
            yield "/", False
        yield segment, _looks_secret(unquote(segment))


def _query_pieces(query: str) -> Iterator[tuple[str, bool]]:
    for part in _PARAMETERS.split(query):
        name, equals, value = part.partition("=")
        harmless = unquote_plus(name).lower() in _HARMLESS
        if part in {"&", ";"} or not part:
            yield part, False
        elif not equals:
            # A bare word may be a flag or the token itself.
            yield part, not harmless
        else:
            yield name + equals, False
            yield value, bool(value) and (not harmless or _any_secret(value))


def _any_secret(value: str) -> bool:
    """Whether a harmless parameter carries a key after all (`streams=<listen key>`)."""
    return any(map(_looks_secret, _VALUES.split(unquote_plus(value))))


def _looks_secret(text: str) -> bool:
    return any(_has_letter_and_digit(run) for run in _ALPHANUMERIC_RUN.findall(text)) or (
        _TOKEN.fullmatch(text) is not None
        and _has_letter_and_digit(text)
        and text != text.lower()
        and text != text.upper()
    )


def _has_letter_and_digit(text: str) -> bool:
    return any(map(str.isalpha, text)) and any(map(str.isdigit, text))
