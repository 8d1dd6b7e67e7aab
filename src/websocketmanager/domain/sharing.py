"""One object for equal choices: thousands of connections choose the same, or nothing. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from functools import lru_cache
from typing import Final, TypeVar

from websocketmanager.domain.model import ConnectionOptions

T = TypeVar("T", bound=Hashable)

#: Different values that are remembered; one that is forgotten is only not shared any more.
_REMEMBERED: Final = 1024

#: No names: each call of `frozenset` makes an object of 216 bytes.
NO_NAMES: Final[frozenset[str]] = frozenset()


@lru_cache(_REMEMBERED)
def _first_equal(value: Hashable) -> Hashable:
    return value


def shared(value: T) -> T:
    """Returns an equal value of the same class: the first that was asked about."""
    first = _first_equal(value)
    # Equal need not be the same kind: to Python 1 is True.
    return first if type(first) is type(value) else value


@lru_cache(_REMEMBERED)
def shared_options(options: ConnectionOptions) -> ConnectionOptions:
    """Returns equal options, whose groups are shared also with options that are not equal."""
    return replace(
        options,
        reconnect=shared(options.reconnect),
        buffer=shared(options.buffer),
        handshake=shared(replace(options.handshake, tls=shared(options.handshake.tls))),
        opening=shared(options.opening),
        subscriptions=shared(options.subscriptions),
        liveness=shared(options.liveness),
        correlation=shared(options.correlation),
        rotation=shared(options.rotation),
    )
