"""What waits for one reader of a stream: a queue that never makes its writer wait. Single loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """An asynchronous iterator over what is pushed, for one reader.

    Args:
        on_close: called once when the reader leaves.
    """

    def __init__(self, on_close: Callable[[], None] = lambda: None) -> None:
        self._on_close = on_close
        self._changed = asyncio.Event()
        self._ended = False
        self._closed = False
        self._error: Exception | None = None
        self.waiting: deque[T] = deque()

    def push(self, item: T) -> None:
        """Appends; bounds are the writer's."""
        self.waiting.append(item)
        self._changed.set()

    def extend(self, items: Iterable[T]) -> None:
        """Appends several."""
        self.waiting.extend(items)
        self._changed.set()

    def finish(self, error: Exception | None = None) -> None:
        """Ends the stream behind what waits, with the error if there is one. The first counts."""
        if not self._ended:
            self._ended, self._error = True, error
            self._changed.set()

    def close(self) -> None:
        """The reader leaves; safe to repeat."""
        if not self._closed:
            self._closed = True
            self.waiting.clear()
            self._on_close()

    def __aiter__(self) -> Mailbox[T]:
        return self

    async def __anext__(self) -> T:
        while not self.waiting:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self.waiting.popleft()
