"""Binance streams: pings that must be answered, a message rate with control frames, age, notice.

Rules: developers.binance.com/en/docs/products/spot/web-socket-streams, and
developers.binance.com/docs/derivatives for futures.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from tests.kit.venues.base import Rules, Venue, VenueSession

_MAX_STREAMS = 1024


class BinanceSpot(Venue):
    """Spot: 5 frames a second. A ping every 20 s here every 1.5 s."""

    rules: ClassVar[Rules] = Rules(ping_every_seconds=1.5, pong_seconds=1.0, messages_per_second=5)

    async def hear(self, session: VenueSession, text: str) -> None:
        request = json.loads(text)
        number, streams = request.get("id"), request.get("params", [])
        if not _is_id(number):
            self.violation(f"no valid id: {number!r}")
            await session.say({"code": 2, "msg": "Invalid request: request ID"})
            return
        match request.get("method"):
            case "SUBSCRIBE":
                if len(session.subscribed) + len(streams) > _MAX_STREAMS:
                    self.violation("too many streams")
                await session.say({"result": None, "id": number})
                for stream in streams:
                    self.subscribe(session, stream)
            case "UNSUBSCRIBE":
                for stream in streams:
                    session.subscribed.remove(stream)
                await session.say({"result": None, "id": number})
            case method:
                self.violation(f"unknown method {method}")
                await session.say({"code": 2, "msg": f"Invalid request: unknown variant {method}"})

    def datum(self, subscription: str, number: int) -> Any:
        symbol, _, channel = subscription.partition("@")
        return {"e": channel, "E": number, "s": symbol.upper(), "t": number, "p": "0.001"}

    async def give_notice(self, session: VenueSession) -> None:
        await session.say({"e": "serverShutdown", "E": 1770123456789})


class BinanceFutures(BinanceSpot):
    """Futures: 10 frames a second. A ping every 3 minutes here every 1.5 s."""

    rules: ClassVar[Rules] = Rules(ping_every_seconds=1.5, pong_seconds=1.0, messages_per_second=10)


def _is_id(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return 0 <= value < 2**63
    return isinstance(value, str) and value.isalnum() and len(value) <= 36
