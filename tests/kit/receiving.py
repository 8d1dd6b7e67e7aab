"""`ports.Receiver` that keeps what it is given.

basket = Basket()                  # takes everything
basket = Basket(3)                 # is full with three messages
basket = Basket(1, greedy=True)    # is full with the first, and takes all that came with it
basket.messages, basket.portions   # what it was given, and how many each time
"""

from __future__ import annotations

import asyncio

from websocketmanager.domain.model import Kind, Message
from websocketmanager.ports import Socket


class Basket:
    """Keeps messages until it holds as many as it may.

    Attributes:
        messages: what it was given, in order.
        portions: how many messages it was offered each time.
        most: with so many it is full.
        greedy: takes all that it is offered at once, however many that makes.
        error: what it raises instead of taking anything.
    """

    def __init__(self, most: int = 1 << 62, *, greedy: bool = False) -> None:
        self.messages: list[Message] = []
        self.portions: list[int] = []
        self.most = most
        self.greedy = greedy
        self.error: Exception | None = None
        self._changed = asyncio.Event()

    async def wait_messages(self, count: int) -> list[Message]:
        """Waits until it holds so many; returns all it holds."""
        while len(self.messages) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.messages

    @property
    def full(self) -> bool:
        return len(self.messages) >= self.most

    def take(self, kind: Kind, payloads: list[bytes]) -> int:
        assert payloads, "nothing is offered"
        assert not self.full, "who is full is offered nothing"
        if self.error is not None:
            raise self.error
        self.portions.append(len(payloads))
        taken = payloads if self.greedy else payloads[: self.most - len(self.messages)]
        self.messages += [Message(kind, data) for data in taken]
        self._changed.set()
        return len(taken)


async def recv_some(socket: Socket) -> list[Message]:
    """Waits for a message; returns it and those of its kind that came with it."""
    basket = Basket(1, greedy=True)
    await socket.recv_into(basket)
    return basket.messages
