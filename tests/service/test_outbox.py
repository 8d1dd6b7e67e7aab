"""The outbox publishes lifecycle events in order and acknowledges each once."""

from __future__ import annotations

import asyncio

from tests.kit.clock import ManualClock, ScriptedDice
from tests.kit.journal import RecordingJournal
from tests.kit.port_faults import FaultScript, FaultyEventSink
from tests.kit.quiet import let_time_pass
from websocketmanager.adapters.memory import MemoryEventSink
from websocketmanager.domain.facts import LifecycleEventsDropped
from websocketmanager.domain.model import ConnectionId, ConnectionSpec, InstanceId, Status, Topic
from websocketmanager.domain.record import Record, RecordedEvent
from websocketmanager.errors import ApiUnavailable
from websocketmanager.ports import PublishResult, Refusal
from websocketmanager.service.lane import Lane
from websocketmanager.service.outbox import Outbox

TOPIC = Topic("websocketmanager.lifecycle")
RECORD = Record(
    ConnectionId("c1"), ConnectionSpec("ws://h/"), Status.CONNECTING, 12.5, InstanceId("one")
)


def recorded(*numbers: int) -> list[RecordedEvent]:
    return [RecordedEvent.of(number, "error", 1.0, {"event": number}) for number in numbers]


async def test_events_are_published_in_order_and_acknowledged() -> None:
    sink, faults, clock = MemoryEventSink(), FaultScript(), ManualClock()
    journal = RecordingJournal()
    lane = Lane(FaultyEventSink(sink, faults), clock, ScriptedDice(), journal)
    outbox = Outbox(lane, journal, topic=TOPIC, type_prefix="p.")
    running = asyncio.create_task(lane.run())
    told: list[int] = []
    faults.fail("publish", ApiUnavailable("Pubsub.PublishEvent", "scripted"), times=2)
    outbox.publish(RECORD, recorded(1, 2), told.append)
    outbox.publish(RECORD, [], told.append)
    outbox.publish(RECORD, recorded(3), told.append)
    await let_time_pass(clock, lambda: not lane.pending)

    assert told == [1, 2, 3]
    assert [event.metadata["ce-id"] for event in sink.events] == [
        f"c1/12500/event/{number}" for number in (1, 2, 3)
    ]
    assert {event.metadata["ce-type"] for event in sink.events} == {"p.error"}
    assert {event.metadata["ce-subject"] for event in sink.events} == {"connection/c1"}

    # Again after a crash: equal ids, equal bytes.
    outbox.publish(RECORD, recorded(3), told.append)
    await let_time_pass(clock, lambda: not lane.pending)
    assert sink.events[3].data == sink.events[2].data
    assert sink.events[3].metadata == sink.events[2].metadata
    running.cancel()
    await asyncio.wait([running])


async def test_an_event_that_is_refused_is_told_and_holds_nobody_up() -> None:
    sink, faults, clock = MemoryEventSink(), FaultScript(), ManualClock()
    journal = RecordingJournal()
    lane = Lane(FaultyEventSink(sink, faults), clock, ScriptedDice(), journal)
    outbox = Outbox(lane, journal, topic=TOPIC, type_prefix="p.")
    running = asyncio.create_task(lane.run())
    told: list[int] = []
    faults.answer("publish", PublishResult(1, Refusal(definite=True, problem="no such topic")))
    outbox.publish(RECORD, recorded(1, 2, 3), told.append)
    await let_time_pass(clock, lambda: not lane.pending)
    assert told == [1, 2, 3]
    assert journal.of(LifecycleEventsDropped) == [LifecycleEventsDropped(1, "no such topic")]
    assert [event.tag for event in sink.events] == [3]
    running.cancel()
    await asyncio.wait([running])
