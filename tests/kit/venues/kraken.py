"""Kraken spot v2: heartbeats, an application's ping, closed without words, no fixed message rate.

Rules: docs.kraken.com/exchange/api-reference/spot-websocket-v2; the minute without words is told
by clients.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

from tests.kit.venues.base import Rules, Venue, VenueSession


class Kraken(Venue):
    """A minute without words is two seconds here, a second between heartbeats a tenth.

    Attributes:
        strained: whether any subscription is too much.
    """

    rules: ClassVar[Rules] = Rules(silence_seconds=2.0)
    _PAIRS = frozenset({"BTC/USD", "ETH/USD", "SOL/USD"})

    def __init__(self, rules: Rules | None = None) -> None:
        super().__init__(rules)
        self.strained = False

    async def welcome(self, session: VenueSession) -> None:
        status = {"api_version": "v2", "connection_id": 1, "system": "online", "version": "2.0.0"}
        await session.say({"channel": "status", "type": "update", "data": [status]})

    async def hear(self, session: VenueSession, text: str) -> None:
        request = json.loads(text)
        match request.get("method"):
            case "ping":
                await session.say({"method": "pong", "time_in": "2026-01-01T00:00:00Z"})
            case "subscribe" if self.strained:
                await session.say({"error": "Exceeded msg rate", "success": False})
            case "subscribe":
                for symbol in request["params"]["symbol"]:
                    await self._subscribe(session, request, symbol)
            case method:
                self.violation(f"unknown method {method}")

    async def _subscribe(self, session: VenueSession, request: dict[str, Any], symbol: str) -> None:
        answer = {"method": "subscribe", "req_id": request.get("req_id")}
        if symbol not in self._PAIRS:
            words = f"Currency pair not supported {symbol}"
            await session.say({**answer, "error": words, "success": False, "symbol": symbol})
            return
        channel = request["params"]["channel"]
        result = {"channel": channel, "symbol": symbol, "snapshot": True}
        await session.say({**answer, "result": result, "success": True})
        if not session.subscribed:
            self._later(self._beat(session))
        self.subscribe(session, f"{channel} {symbol}")

    async def _beat(self, session: VenueSession) -> None:
        while session.feeding:
            await session.say({"channel": "heartbeat"})
            await asyncio.sleep(0.1)  # the pace of the venue's own heartbeats

    def datum(self, subscription: str, number: int) -> Any:
        channel, _, symbol = subscription.partition(" ")
        return {"channel": channel, "type": "update", "data": [{"symbol": symbol, "id": number}]}
