"""One object for equal choices: thousands of connections choose the same, or nothing. Pure.

Nothing is kept alive by being shared. Choices may hold credentials that a caller wrote out; they go
with the last connection that has them.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Final, TypeVar
from weakref import WeakKeyDictionary, ref

from websocketmanager.domain.model import ConnectionOptions

T = TypeVar("T", bound=Hashable)

#: No names: each call of `frozenset` makes an object of 216 bytes.
NO_NAMES: Final[frozenset[str]] = frozenset()

#: The first of all equal values, by itself; a strong reference would keep its own key.
_FIRST: Final[WeakKeyDictionary[Hashable, ref[Hashable]]] = WeakKeyDictionary()


def shared(value: T) -> T:
    """Returns an equal value of the same class: the first of those that are alive.

    Args:
        value: of a class that can be referred to weakly.
    """
    first = _first_equal(value)
    if first is None:
        _FIRST[value] = ref(value)
        return value
    return first


def _first_equal(value: T) -> T | None:
    known = _FIRST.get(value)
    first = None if known is None else known()
    # Equal need not be the same kind: to Python 1 is True.
    return first if type(first) is type(value) else None


def shared_options(options: ConnectionOptions) -> ConnectionOptions:
    """Returns equal options, whose groups are shared also with options that are not equal."""
    first = _first_equal(options)
    if first is not None:
        return first
    return shared(
        replace(
            options,
            reconnect=shared(options.reconnect),
            buffer=shared(options.buffer),
            handshake=shared(replace(options.handshake, tls=shared(options.handshake.tls))),
            opening=shared(options.opening),
            liveness=shared(options.liveness),
            correlation=shared(options.correlation),
            rotation=shared(options.rotation),
        )
    )
