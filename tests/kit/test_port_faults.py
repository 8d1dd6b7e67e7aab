"""The faulty ports fail exactly as told and are otherwise the ports they wrap."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.kit.builders import event
from tests.kit.port_faults import (
    FaultScript,
    FaultyEventSink,
    FaultyStateStore,
    InLineEventSink,
)
from websocketmanager.adapters.memory import MemoryEventSink, MemoryStateStore
from websocketmanager.errors import ApiUnavailable
from websocketmanager.ports import EventSink, PublishResult, Refusal, StateStore

DOWN = ApiUnavailable("any", "scripted")


async def test_without_a_script_nothing_changes() -> None:
    faults = FaultScript()
    store: StateStore = FaultyStateStore(MemoryStateStore(), faults)
    sink: EventSink = FaultyEventSink(MemoryEventSink(max_batch=3, max_in_flight=2), faults)
    await store.save("k", "v")
    await store.register(["k"])

    assert await store.get_all() == {"k": "v"}
    await store.delete("k")
    assert await store.get("k") is None
    assert (sink.max_batch, sink.max_in_flight) == (3, 2)
    assert await sink.publish([event()]) == PublishResult(1)
    assert faults.calls == ["save", "register", "get_all", "delete", "get", "publish"]


async def test_failures_come_before_or_after_the_effect() -> None:
    faults, inner = FaultScript(), MemoryStateStore()
    store = FaultyStateStore(inner, faults)
    faults.fail("save", DOWN, times=2)
    faults.fail("save", DOWN, after=True)
    seen = []
    for number in range(4):
        with contextlib.suppress(ApiUnavailable):
            await store.save("k", str(number))
        kept = await inner.get("k")
        seen.append(kept and kept.value)

    assert seen == [None, None, "2", "3"]


async def test_an_outage_lasts_until_it_is_healed() -> None:
    faults = FaultScript()
    sink = FaultyEventSink(MemoryEventSink(), faults)
    faults.break_all(DOWN)
    for _ in range(3):
        with pytest.raises(ApiUnavailable):
            await sink.publish([event()])
    faults.heal()

    assert await sink.publish([event()]) == PublishResult(1)


async def test_a_held_call_waits_and_then_goes_on() -> None:
    faults = FaultScript()
    sink = FaultyEventSink(MemoryEventSink(), faults)
    hold = faults.hold("publish")
    task = asyncio.create_task(sink.publish([event()]))
    await faults.wait_calls(1, "publish")
    await hold.arrived.wait()
    assert not task.done()
    hold.release()

    assert await task == PublishResult(1)


async def test_a_scripted_answer_replaces_the_effect() -> None:
    faults, inner = FaultScript(), MemoryEventSink()
    sink = FaultyEventSink(inner, faults)
    refused = PublishResult(0, Refusal(definite=False, problem="scripted"))
    faults.answer("publish", refused)

    assert await sink.publish([event()]) == refused
    assert inner.events == []


async def test_calls_in_line_keep_their_order_and_end_behind_one_that_fails() -> None:
    faults, inner = FaultScript(), MemoryEventSink(max_batch=3)
    sink: EventSink = InLineEventSink(FaultyEventSink(inner, faults))
    assert (sink.max_batch, sink.max_in_flight, sink.ordered) == (3, 4, True)
    hold = faults.hold("publish")
    calls = [asyncio.create_task(sink.publish([event(number=n)])) for n in (1, 2)]
    await hold.arrived.wait()
    assert faults.calls == ["publish"]
    hold.release()
    assert [await call for call in calls] == [PublishResult(1)] * 2

    hold = faults.hold("publish")
    faults.fail("publish", DOWN)
    calls = [asyncio.create_task(sink.publish([event(number=n)])) for n in (3, 4, 5)]
    await hold.arrived.wait()
    hold.release()
    await asyncio.wait(calls)
    assert calls[0].exception() is DOWN
    assert [call.result() for call in calls[1:]] == [PublishResult(0)] * 2
    assert await sink.publish([event(number=3)]) == PublishResult(1)
    assert [one.metadata["ce-id"] for one in inner.events] == ["1", "2", "3"]
