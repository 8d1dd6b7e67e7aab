"""Prices that walk at random, as JSON ticks and as packed quotes. Pure."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence

#: Symbols that the exchange lists, with their first price in cents.
LISTED = {"ACME-USD": 12_000, "BOLT-USD": 4_550, "COIL-USD": 980, "DYNE-USD": 731_000}
#: One quote: sequence, microseconds since 1970, symbol (padded), bid, ask in cents; big endian.
QUOTE = struct.Struct("!QQ12sQQ")
#: A step of the walk is at most this part of the price.
_STEP = 0.001


class Market:
    """One session's view of the market: its own sequence numbers, from 1.

    `uniform` returns numbers from 0 (included) to 1 (excluded).
    """

    def __init__(self, symbols: Sequence[str], uniform: Callable[[], float]) -> None:
        self._symbols = list(symbols)
        self._uniform = uniform
        self._prices = dict(LISTED)
        self._sequence = 0

    @property
    def symbols(self) -> tuple[str, ...]:
        """What is subscribed to, in order."""
        return tuple(self._symbols)

    def subscribe(self, symbols: Sequence[str]) -> None:
        """Adds listed symbols; others are ignored."""
        for symbol in symbols:
            if symbol in LISTED and symbol not in self._symbols:
                self._symbols.append(symbol)

    def unsubscribe(self, symbols: Sequence[str]) -> None:
        """Removes symbols."""
        self._symbols = [symbol for symbol in self._symbols if symbol not in symbols]

    def tick(self, now: float) -> str | None:
        """Returns the next tick as JSON text, or None when nothing is subscribed to."""
        if not self._symbols:
            return None
        symbol, cents = self._move()
        tick = {
            "type": "tick",
            "seq": self._sequence,
            "symbol": symbol,
            "price": f"{cents / 100:.2f}",
            "size": 1 + int(self._uniform() * 500),
            "time_ms": round(now * 1000),
        }
        return json.dumps(tick, separators=(",", ":"))

    def quote(self, now: float) -> bytes | None:
        """Returns the next quote in the layout of QUOTE, or None when nothing is subscribed to."""
        if not self._symbols:
            return None
        symbol, cents = self._move()
        spread = 1 + int(cents * _STEP)
        return QUOTE.pack(
            self._sequence, round(now * 1e6), symbol.encode(), cents - spread, cents + spread
        )

    def _move(self) -> tuple[str, int]:
        self._sequence += 1
        symbol = self._symbols[int(self._uniform() * len(self._symbols))]
        step = round(self._prices[symbol] * _STEP * (2 * self._uniform() - 1))
        # The walk never leaves the decade of its first price.
        floor, ceiling = LISTED[symbol] // 3, LISTED[symbol] * 3
        self._prices[symbol] = min(max(self._prices[symbol] + step, floor), ceiling)
        return symbol, self._prices[symbol]


def reply_to(message: str | bytes, market: Market, *, prefix_bytes: int = 16) -> str | bytes | None:
    """Returns what the exchange answers, or None for silence; applies subscriptions.

    A JSON object with a `method` is a command. Anything longer than the prefix may be a
    correlated request: its answer begins with the same bytes, followed by the command's answer
    or by the same payload.
    """
    if (answer := _obey(message, market)) is not None:
        return answer
    encoded = message.encode() if isinstance(message, str) else message
    prefix, payload = encoded[:prefix_bytes], encoded[prefix_bytes:]
    if len(prefix) < prefix_bytes:
        return None
    obeyed = _obey(payload, market)
    reply = prefix + (payload if obeyed is None else obeyed.encode())
    return reply.decode() if isinstance(message, str) else reply


def _obey(message: str | bytes, market: Market) -> str | None:
    try:
        command = json.loads(message)
    except (ValueError, RecursionError):
        return None
    if not isinstance(command, dict) or not isinstance(command.get("method"), str):
        return None
    wanted = command.get("params")
    symbols = [one for one in wanted if isinstance(one, str)] if isinstance(wanted, list) else []
    match command["method"].upper():
        case "SUBSCRIBE":
            market.subscribe(symbols)
        case "UNSUBSCRIBE":
            market.unsubscribe(symbols)
        case "LIST_SUBSCRIPTIONS":
            pass
        case _:
            return json.dumps({"id": command.get("id"), "error": "unknown method"})
    return json.dumps({"id": command.get("id"), "result": market.symbols})
