"""StateStore and EventSink that fail by script, around any other (the memory twins, mostly).

    faults = FaultScript()
    store = FaultyStateStore(MemoryStateStore(), faults)
    faults.fail("save", ApiUnavailable("State.SaveState", "scripted"), times=2)
    faults.fail("save", ApiUnavailable("State.SaveState", "scripted"), after=True)  # but saved
    faults.break_all(ApiUnavailable("any", "outage")); ...; faults.heal()
    hold = faults.hold("publish"); await hold.arrived.wait(); hold.release()
    faults.answer("publish", PublishResult(0, Refusal(definite=False, problem="scripted")))

Operations are the methods' names: get, save, delete, register, get_all, publish.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tests.kit.hold import Hold
from websocketmanager.domain.envelope import Parcel, count_events
from websocketmanager.ports import EventSink, PublishResult, StateStore, Versioned

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Failure:
    error: Exception
    after: bool


class FaultScript:
    """What goes wrong next, per operation. `calls` lists the operations called so far."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._failures: dict[str, list[_Failure]] = {}
        self._answers: dict[str, list[PublishResult]] = {}
        self._holds: dict[str, list[Hold]] = {}
        self._broken: Exception | None = None
        self._changed = asyncio.Event()

    def fail(
        self, operation: str, error: Exception, *, times: int = 1, after: bool = False
    ) -> None:
        """Fails the next calls; `after` lets each have its effect first."""
        self._failures.setdefault(operation, []).extend([_Failure(error, after)] * times)

    def answer(self, operation: str, result: PublishResult) -> None:
        """Gives the next call this result instead of any effect."""
        self._answers.setdefault(operation, []).append(result)

    def hold(self, operation: str) -> Hold:
        """Makes the next call wait before anything else."""
        hold = Hold()
        self._holds.setdefault(operation, []).append(hold)
        return hold

    def break_all(self, error: Exception) -> None:
        """Fails every call until `heal`."""
        self._broken = error

    def heal(self) -> None:
        """Ends `break_all`."""
        self._broken = None

    async def wait_calls(self, count: int, operation: str) -> None:
        """Waits until the operation was called `count` times."""
        while self.calls.count(operation) < count:
            await self._changed.wait()

    async def run(self, operation: str, act: Callable[[], Awaitable[Result]]) -> Result:
        """Runs one call through the script."""
        self.calls.append(operation)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if self._holds.get(operation):
            await self._holds[operation].pop(0).pass_through()
        if self._broken is not None:
            raise self._broken
        failures = self._failures.get(operation)
        if not failures:
            return await act()
        failure = failures.pop(0)
        if failure.after:
            await act()
        raise failure.error

    def next_answer(self, operation: str) -> PublishResult | None:
        """Returns the scripted result of this call, if there is one."""
        answers = self._answers.get(operation)
        return answers.pop(0) if answers else None


class FaultyStateStore:
    """`ports.StateStore` that obeys a script."""

    def __init__(self, inner: StateStore, faults: FaultScript) -> None:
        self._inner = inner
        self._faults = faults

    async def get(self, key: str) -> Versioned | None:
        return await self._faults.run("get", lambda: self._inner.get(key))

    async def save(self, key: str, value: str, *, etag: str | None = None) -> None:
        await self._faults.run("save", lambda: self._inner.save(key, value, etag=etag))

    async def delete(self, key: str) -> None:
        await self._faults.run("delete", lambda: self._inner.delete(key))

    async def register(self, keys: Sequence[str]) -> None:
        await self._faults.run("register", lambda: self._inner.register(keys))

    async def get_all(self) -> Mapping[str, str]:
        return await self._faults.run("get_all", self._inner.get_all)


class FaultyEventSink:
    """`ports.EventSink` that obeys a script."""

    def __init__(self, inner: EventSink, faults: FaultScript) -> None:
        self._inner = inner
        self._faults = faults

    @property
    def max_batch(self) -> int:
        return self._inner.max_batch

    @property
    def max_in_flight(self) -> int:
        return self._inner.max_in_flight

    @property
    def ordered(self) -> bool:
        return self._inner.ordered

    async def publish(self, events: Sequence[Parcel]) -> PublishResult:
        async def act() -> PublishResult:
            scripted = self._faults.next_answer("publish")
            return scripted if scripted is not None else await self._inner.publish(events)

        return await self._faults.run("publish", act)


class InLineEventSink:
    """`ports.EventSink` around any other whose calls overlap and keep their order.

    Each waits for those before it; behind one that is not accepted whole they accept nothing.
    """

    def __init__(self, inner: EventSink, *, max_in_flight: int = 4) -> None:
        self.max_in_flight = max_in_flight
        self.ordered = True
        self._inner = inner
        self._last: asyncio.Future[bool] | None = None

    @property
    def max_batch(self) -> int:
        return self._inner.max_batch

    async def publish(self, events: Sequence[Parcel]) -> PublishResult:
        before = self._last
        self._last = mine = asyncio.get_running_loop().create_future()
        whole = False
        try:
            if before is not None and not before.done() and not await asyncio.shield(before):
                return PublishResult(0)
            result = await self._inner.publish(events)
            whole = result.accepted == count_events(events)
            return result
        finally:
            mine.set_result(whole)
