"""Coinbase Exchange: a subscription within a deadline, signed where credentials are wanted.

Rules: docs.cdp.coinbase.com/exchange/websocket-feed/overview, …/authentication, …/rate-limits.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any, ClassVar

from tests.kit.venues.base import Rules, Venue, VenueSession
from tests.kit.venues.okx import Credentials

_MAX_PER_PRODUCT_AND_CHANNEL = 10


class Coinbase(Venue):
    """Five seconds for the first subscription are one here; the secret is base64."""

    rules: ClassVar[Rules] = Rules(first_subscribe_seconds=1.0, messages_per_second=100)

    def __init__(self, credentials: Credentials | None = None, rules: Rules | None = None) -> None:
        super().__init__(rules)
        self.credentials = credentials

    async def hear(self, session: VenueSession, text: str) -> None:
        request = json.loads(text)
        if request.get("type") != "subscribe":
            self.violation(f"unknown type {request.get('type')}")
            return
        if self.credentials and not self._is_signed(request):
            session.asked.append("refused")
            await self._error(session, "Authentication Failed", "")
            return
        wanted = [
            f"{channel['name']} {product}"
            for channel in request["channels"]
            for product in channel["product_ids"]
        ]
        for one in wanted:
            same = sum(other.subscribed.count(one) for other in self.open_sessions)
            if same >= _MAX_PER_PRODUCT_AND_CHANNEL:
                self.violation(f"subscribed more than {same} times to {one}")
        # The answer comes before the data.
        told = [*session.subscribed, *wanted]
        await session.say({"type": "subscriptions", "channels": told})
        for one in wanted:
            self.subscribe(session, one)

    def _is_signed(self, request: dict[str, str]) -> bool:
        known = self.credentials
        assert known is not None
        stamp = request.get("timestamp", "0")
        signed = f"{stamp}GET/users/self/verify".encode()
        digest = hmac.digest(base64.b64decode(known.secret), signed, hashlib.sha256)
        return (
            request.get("key") == known.key
            and request.get("passphrase") == known.passphrase
            and request.get("signature") == base64.b64encode(digest).decode()
            and abs(float(stamp) - time.time()) < 30
        )

    async def _error(self, session: VenueSession, words: str, reason: str) -> None:
        await session.say({"type": "error", "message": words, "reason": reason})

    def datum(self, subscription: str, number: int) -> Any:
        channel, _, product = subscription.partition(" ")
        return {"type": channel, "product_id": product, "trade_id": number}
