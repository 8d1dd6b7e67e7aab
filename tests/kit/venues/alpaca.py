"""Alpaca market data: login within a deadline, one connection per key, errors in band.

Rules: docs.alpaca.markets/docs/streaming-market-data.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from tests.kit.venues.base import Rules, Venue, VenueSession


def _error(code: int, words: str) -> list[dict[str, Any]]:
    return [{"T": "error", "code": code, "msg": words}]


def _named(request: dict[str, Any]) -> list[str]:
    return [
        f"{channel} {symbol}"
        for channel, symbols in request.items()
        if channel != "action"
        for symbol in symbols
    ]


class Alpaca(Venue):
    """Ten seconds for the login are one here.

    Attributes:
        accounts: key id to secret.
        refusal: code and words that a right login gets instead of success, if set.
    """

    rules: ClassVar[Rules] = Rules(login_seconds=1.0, sessions_per_key=1)

    def __init__(self, accounts: dict[str, str], rules: Rules | None = None) -> None:
        super().__init__(rules)
        self.accounts = accounts
        self.refusal: tuple[int, str] | None = None

    async def welcome(self, session: VenueSession) -> None:
        await session.say([{"T": "success", "msg": "connected"}])

    async def hear(self, session: VenueSession, text: str) -> None:
        request = json.loads(text)
        match request.get("action"):
            case "auth":
                await self._auth(session, request)
            case "subscribe" | "unsubscribe" if not session.key:
                self.violation("subscribed before the login")
                await session.say(_error(401, "not authenticated"))
            case "subscribe":
                for one in _named(request):
                    self.subscribe(session, one)
                await session.say([self._subscription(session)])
            case "unsubscribe":
                for one in _named(request):
                    session.subscribed.remove(one)
                await session.say([self._subscription(session)])
            case action:
                self.violation(f"unknown action {action}")
                await session.say(_error(400, "invalid syntax"))

    async def _auth(self, session: VenueSession, request: dict[str, Any]) -> None:
        if session.key:
            self.violation("logged in twice")
            await session.say(_error(403, "already authenticated"))
        elif self.accounts.get(request.get("key", "")) != request.get("secret"):
            await session.say(_error(402, "auth failed"))
        elif self.refusal:
            await session.say(_error(*self.refusal))
        elif not self.log_in(session, request["key"]):
            await session.say(_error(406, "connection limit exceeded"))
        else:
            await session.say([{"T": "success", "msg": "authenticated"}])

    def _subscription(self, session: VenueSession) -> dict[str, Any]:
        told: dict[str, Any] = {"T": "subscription", "trades": [], "quotes": [], "bars": []}
        for one in session.subscribed:
            channel, _, symbol = one.partition(" ")
            told.setdefault(channel, []).append(symbol)
        return told

    def datum(self, subscription: str, number: int) -> Any:
        return [{"T": "t", "S": subscription.partition(" ")[2], "i": number, "p": 126.55}]

    async def refuse_late_login(self, session: VenueSession) -> None:
        await session.say(_error(404, "auth timeout"))
        await session.close(1000)
