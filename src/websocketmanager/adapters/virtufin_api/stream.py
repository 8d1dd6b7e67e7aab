"""`Pubsub.PublishStream`: numbered batches, acknowledged in order, a few unacknowledged at a time.

No task of its own: each call writes its batches, and the oldest call reads the acknowledgements.
A stream begins with an empty batch, whose acknowledgement says that there is such a stream: what a
server refuses while we write, gRPC tells as a failed write alone. After a break all that is
unacknowledged is sent again, in order, on a new stream. A call that ends without all its events
accepted withdraws all calls behind it: they end with nothing, so that no event overtakes another
(`ports.EventSink.ordered`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import grpc
from grpc.aio import AioRpcError

from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.adapters.virtufin_api.answers import (
    TRANSIENT,
    CallFailed,
    Verdict,
    from_code,
)
from websocketmanager.adapters.virtufin_api.breaker import Pass
from websocketmanager.adapters.virtufin_api.channel import ApiChannel, Dialogue
from websocketmanager.adapters.virtufin_api.settings import ApiSettings
from websocketmanager.domain.envelope import Parcel, count_events, divided
from websocketmanager.domain.facts import ApiCallEnded, ApiCallRetried
from websocketmanager.domain.wire import EventEncoder, varint
from websocketmanager.ports import Clock, Journal

OPERATION = "Pubsub.PublishStream"
#: Batches that may be unacknowledged: more bring latency and no throughput.
WINDOW = 4
# Tags of varint fields of PublishBatch: field number << 3.
_NUMBER = b"\x10"
_STOPS = b"\x18"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended.

    Attributes:
        accepted: how many events from the front are published for good.
        failure: why no more; None with fewer than all: the API stopped there, or the call was
            withdrawn.
        withdrawn: whether it ended because one before it had to.
    """

    accepted: int
    failure: CallFailed | None = None
    withdrawn: bool = False


class _Call:
    """One call of `publish` that has not ended."""

    __slots__ = ("accepted", "count", "ending", "events", "sent", "turn")

    def __init__(self, events: Sequence[Parcel]) -> None:
        self.events = events
        self.count = count_events(events)
        #: How many events from the front are in batches that were written, and accepted.
        self.sent = 0
        self.accepted = 0
        self.ending: Ending | None = None
        #: Set once it is the oldest call, or has ended.
        self.turn = asyncio.Event()


@dataclass(slots=True, eq=False)
class _Batch:
    """One batch that is not acknowledged; `call` is None when nobody wants to know any more."""

    number: int
    count: int
    size: int
    given: Pass
    call: _Call | None
    skipped: bool = False


class PublishStream:
    """Publishes over one stream at a time. Calls may overlap and keep their order."""

    def __init__(
        self,
        channel: ApiChannel,
        settings: ApiSettings,
        encoder: EventEncoder,
        *,
        batch_bytes: int,
        clock: Clock,
        journal: Journal,
    ) -> None:
        self._channel = channel
        self._settings = settings
        self._encoder = encoder
        self._clock = clock
        self._journal = journal
        self._open = channel.dialogue(OPERATION, pb.PublishAck)
        self._batch_bytes = batch_bytes
        self._dialogue: Dialogue | None = None
        #: Whether the stream's first batch, the empty one, is acknowledged.
        self._greeted = False
        self._write_failed = False
        self._writing = asyncio.Lock()
        self._calls: deque[_Call] = deque()
        self._unacknowledged: deque[_Batch] = deque()
        self._number = 0
        self._stops = 0
        self._attempt = 1

    async def publish(self, events: Sequence[Parcel]) -> Ending:
        """Publishes events in order, behind those of the calls that began before.

        Cancelling withdraws the calls behind this one.
        """
        started = self._clock.monotonic()
        outcome = "CancelledError"
        call = _Call(events)
        self._calls.append(call)
        try:
            if self._calls[0] is not call:
                with suppress(TimeoutError):  # the oldest call finds the break
                    async with self._clock.timeout(self._settings.timeout_seconds):
                        await self._write()
                if call.ending is None and self._calls[0] is not call:
                    await call.turn.wait()
            while call.ending is None:
                await self._advance(call)
            ending: Ending = call.ending
            failure = ending.failure
            outcome = "ok" if failure is None else type(failure.error).__name__
            return ending
        finally:
            if call.ending is None:  # cancelled, and the stream with it if it was in use
                self._reset()
                self._end(call, Ending(call.accepted))
            seconds = self._clock.monotonic() - started
            self._journal.emit(ApiCallEnded(OPERATION, outcome, seconds))

    # --- writing: every call, one at a time -------------------------------------------------------

    async def _write(self) -> None:
        """Writes what the window has room for; a break shows when the oldest call reads."""
        async with self._writing:
            while (call := self._next_to_write()) is not None:
                dialogue = self._dialogue
                if dialogue is None or (dialogue.done() and not self._unacknowledged):
                    self._reset()  # one that ended while nothing was under way is no failure
                    dialogue = None
                given = self._channel.breaker.admit()
                if given is None:
                    return
                if dialogue is None:
                    dialogue = self._dialogue = self._open()
                    body = self._begin_batch(None, given, self._head(), 0)
                else:
                    body, count = self._encoder.batch(
                        call.events, call.sent, self._batch_bytes, self._head()
                    )
                    self._begin_batch(call, given, body, count)
                try:
                    await dialogue.write(body)
                except (AioRpcError, asyncio.InvalidStateError):
                    self._write_failed = True
                    return
                except asyncio.CancelledError:
                    if _is_asked_to_end():
                        raise
                    return

    def _next_to_write(self) -> _Call | None:
        """Returns the call whose batch may be written now."""
        if len(self._unacknowledged) >= WINDOW:
            return None
        if self._unacknowledged and not self._greeted:
            return None
        for call in self._calls:
            if call.sent < call.count:
                return None if self._too_large(call) else call
        return None

    def _too_large(self, call: _Call) -> bool:
        """Whether its next event cannot be sent at all: all before it must be settled first."""
        parcel = (divided(call.events, call.sent)[1] if call.sent else call.events)[0]
        if parcel.size * 2 < self._settings.max_message_bytes:
            return False  # and so is each of its events
        body, _ = self._encoder.batch(call.events, call.sent, 0, self._head())
        return len(body) > self._settings.max_message_bytes

    def _head(self) -> bytes:
        stops = _STOPS + varint(self._stops) if self._stops else b""
        return _NUMBER + varint(self._number + 1) + stops

    def _begin_batch(self, call: _Call | None, given: Pass, body: bytes, count: int) -> bytes:
        self._number += 1
        if call is not None:
            call.sent += count
        # Before it is written: the acknowledgement may come while the writer still waits.
        self._unacknowledged.append(_Batch(self._number, count, len(body), given, call))
        return body

    # --- reading: the oldest call alone -----------------------------------------------------------

    async def _advance(self, call: _Call) -> None:
        """Takes one acknowledgement, or does what follows when there is none."""
        dialogue: Dialogue | None = None
        try:
            async with self._clock.timeout(self._settings.timeout_seconds):
                await self._write()
                dialogue = self._dialogue
                if not self._unacknowledged or dialogue is None:
                    self._end(call, Ending(call.accepted, self._why_nothing_was_written(call)))
                    return
                ack = await dialogue.read()
            failed = self._take(ack) if dialogue is self._dialogue else None
        except TimeoutError:
            seconds = self._settings.timeout_seconds
            problem = f"DEADLINE_EXCEEDED: no acknowledgement within {seconds:g} s"
            failed = CallFailed(OPERATION, Verdict.TRANSPORT, problem)
        except AioRpcError as failure:
            failed = from_code(OPERATION, failure)
            if self._write_failed and failure.code() is grpc.StatusCode.INTERNAL:
                # gRPC's own word for a write that the other end cut short.
                failed = CallFailed(OPERATION, Verdict.TRANSPORT, failed.problem)
        except asyncio.CancelledError:
            if _is_asked_to_end():
                raise
            problem = "a call that was cancelled took the stream along"
            failed = CallFailed(OPERATION, Verdict.BUSY, problem)
        # Unless it was another stream: a call that was cancelled gave that up.
        if failed is not None and dialogue in {None, self._dialogue}:
            await self._broken(call, failed)

    def _take(self, ack: object) -> CallFailed | None:
        if isinstance(ack, pb.PublishAck) and ack.number == self._unacknowledged[0].number:
            self._acknowledged(ack)
            return None
        problem = "the stream ended, or acknowledged what is not due"
        return CallFailed(OPERATION, Verdict.TRANSPORT, problem)

    def _why_nothing_was_written(self, call: _Call) -> CallFailed:
        if call.sent < call.count and self._too_large(call):
            problem = f"above the API's limit of {self._settings.max_message_bytes} bytes"
            return CallFailed(OPERATION, Verdict.TOO_LARGE, problem)
        return CallFailed(OPERATION, Verdict.OPEN, "its circuit breaker is open")

    def _acknowledged(self, ack: pb.PublishAck) -> None:
        batch = self._unacknowledged.popleft()
        if not self._greeted:
            # Proves the RPC and not that it works: attempts and the breaker count on.
            self._greeted = True
            self._channel.breaker.withdraw(batch.given)
            return
        self._channel.breaker.settle(batch.given, failed=False)
        self._attempt = 1
        if batch.skipped:
            return
        published = min(max(ack.published, 0), batch.count)
        call = batch.call
        if call is not None:
            call.accepted += published
        if published < batch.count:
            self._stops += 1
            for behind in self._unacknowledged:
                behind.skipped = True
            if call is None:
                self._withdraw(self._calls)
                return
        if call is not None and (published < batch.count or call.accepted == call.count):
            self._end(call, Ending(call.accepted))

    # --- breaks -----------------------------------------------------------------------------------

    async def _broken(self, call: _Call, failed: CallFailed) -> None:
        """The stream is no more: sends again what is unacknowledged, or ends the oldest call."""
        largest = max((b.size for b in self._unacknowledged if b.count > 1), default=0)
        self._settle_break(failed)
        if failed.verdict is Verdict.TOO_LARGE and largest:
            self._batch_bytes = largest // 2  # the server's limit is below the one we were told
            return
        if failed.verdict not in TRANSIENT or self._attempt >= self._settings.max_attempts:
            self._attempt = 1
            self._end(call, Ending(call.accepted, failed))
            return
        self._journal.emit(ApiCallRetried(OPERATION, failed.problem, self._attempt))
        pause = self._channel.retry_seconds(self._attempt)
        self._attempt += 1
        await self._clock.sleep(pause)

    def _settle_break(self, failed: CallFailed) -> None:
        """Forgets the stream and what was written to it; the breaker hears of one failure."""
        if self._unacknowledged:
            given = self._unacknowledged[0].given
            self._channel.breaker.settle(given, failed=failed.verdict is Verdict.TRANSPORT)
        self._reset()

    def _reset(self) -> None:
        """Gives the stream up; what it did not acknowledge is to be written again."""
        if self._dialogue is not None:
            self._dialogue.cancel()
            self._dialogue = None
        for batch in self._unacknowledged:
            self._channel.breaker.withdraw(batch.given)
        self._unacknowledged.clear()
        for call in self._calls:
            call.sent = call.accepted
        self._number = self._stops = 0
        self._greeted = self._write_failed = False

    # --- the end of a call ------------------------------------------------------------------------

    def _end(self, call: _Call, ending: Ending) -> None:
        """Ends a call, and all behind it when it is incomplete; the next oldest reads on."""
        call.ending = ending
        place = self._calls.index(call)
        if ending.accepted < call.count:
            self._withdraw(list(self._calls)[place + 1 :])
        self._forget(call)
        if self._calls:
            self._calls[0].turn.set()

    def _withdraw(self, calls: Sequence[_Call] | deque[_Call]) -> None:
        for call in tuple(calls):
            call.ending = Ending(call.accepted, withdrawn=True)
            self._forget(call)
            call.turn.set()

    def _forget(self, call: _Call) -> None:
        self._calls.remove(call)
        for batch in self._unacknowledged:
            if batch.call is call:
                batch.call = None


def _is_asked_to_end() -> bool:
    """Whether this task is being cancelled: gRPC also says so of a stream that was given up."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
