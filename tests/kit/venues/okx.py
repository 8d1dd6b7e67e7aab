"""OKX v5: text pings, signed login, codes in band, notice 64008.

Rules: www.okx.com/docs-v5/en/#overview-websocket-overview.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.kit.venues.base import Rules, Venue, VenueSession


@dataclass(frozen=True)
class Credentials:
    """Of one account."""

    key: str
    secret: str
    passphrase: str


class Okx(Venue):
    """30 s of silence are two here. With credentials, the private channels: login first."""

    rules: ClassVar[Rules] = Rules(silence_seconds=2.0)

    def __init__(self, credentials: Credentials | None = None, rules: Rules | None = None) -> None:
        super().__init__(rules)
        self.credentials = credentials
        self.requests_per_hour = 480
        #: Code and words that a right login gets instead of success, if set.
        self.refusal: tuple[str, str] | None = None

    async def hear(self, session: VenueSession, text: str) -> None:
        if text == "ping":
            await session.say("pong")
            return
        counted = [one for one in session.requests if one != "ping"]
        if len(counted) > self.requests_per_hour:
            self.violation("too many requests within an hour")
            await self._error(session, "60014", "Requests too frequent")
            return
        request = json.loads(text)
        match request.get("op"):
            case "login":
                await self._login(session, request["args"][0])
            case "subscribe" if self.credentials and not session.key:
                self.violation("subscribed before the login")
                await self._error(session, "60011", "Please log in")
            case "subscribe":
                for arg in request["args"]:
                    told = {"event": "subscribe", "arg": arg, "connId": "a4d3ae55"}
                    await session.say(told)
                    self.subscribe(session, " ".join(arg.values()))
            case op:
                self.violation(f"unknown op {op}")
                await self._error(session, "60012", "Invalid request")

    async def _login(self, session: VenueSession, given: dict[str, str]) -> None:
        known = self.credentials
        assert known is not None, "public channels have no login"
        if given["apiKey"] != known.key:
            await self._error(session, "60005", "Invalid apiKey")
        elif abs(float(given["timestamp"]) - time.time()) > 30:
            await self._error(session, "60006", "Timestamp request expired")
        elif given["sign"] != _signature(known.secret, given["timestamp"]):
            await self._error(session, "60007", "Invalid sign")
        elif given["passphrase"] != known.passphrase:
            await self._error(session, "60024", "Wrong passphrase")
        elif self.refusal:
            await self._error(session, *self.refusal)
        else:
            self.log_in(session, known.key)
            await session.say({"event": "login", "code": "0", "msg": "", "connId": "a4d3ae55"})

    async def _error(self, session: VenueSession, code: str, words: str) -> None:
        await session.say({"event": "error", "code": code, "msg": words, "connId": "a4d3ae55"})

    def datum(self, subscription: str, number: int) -> Any:
        channel, _, which = subscription.partition(" ")
        kind = "instType" if self.credentials else "instId"
        return {"arg": {"channel": channel, kind: which}, "data": [{"tradeId": str(number)}]}

    async def give_notice(self, session: VenueSession) -> None:
        words = "The connection will soon be closed for a service upgrade. Please reconnect."
        await session.say({"event": "notice", "code": "64008", "msg": words, "connId": "a4d3ae55"})


def _signature(secret: str, timestamp: str) -> str:
    signed = f"{timestamp}GET/users/self/verify".encode()
    return base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256)).decode()
