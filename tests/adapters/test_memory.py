"""What the twins add to their ports' contract suites (`tests/contracts/`)."""

from __future__ import annotations

from tests.kit.builders import event
from websocketmanager.adapters.memory import MemoryEventSink, MemoryStateStore


async def test_a_restart_forgets_which_keys_were_registered() -> None:
    store = MemoryStateStore()
    await store.save("key", "value")
    await store.register(["key"])

    store.restart()

    assert await store.get_all() == {}
    assert await store.get("key") is not None


async def test_the_sink_keeps_what_it_accepted_and_states_its_limits() -> None:
    sink = MemoryEventSink(refused_topics={"refused"}, max_batch=1, max_in_flight=64)

    await sink.publish([event("a"), event("refused"), event("b")])

    assert [kept.route.topic for kept in sink.events] == ["a"]
    assert (sink.max_batch, sink.max_in_flight) == (1, 64)
