"""Reference twins of StateStore, EventSink and Secrets in memory: for tests and comparison only."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence

from websocketmanager.domain.envelope import Event
from websocketmanager.domain.secrets import SecretValues
from websocketmanager.errors import SecretMissing, StateConflict
from websocketmanager.ports import PublishResult, Refusal, Versioned


class MemoryStateStore:
    """`ports.StateStore` as the virtufin-api behaves when nothing goes wrong.

    One store given to two services stands for two processes on one API.
    """

    def __init__(self) -> None:
        self.values: dict[str, Versioned] = {}
        self.registered: set[str] = set()
        self._last_etag = 0

    async def get(self, key: str) -> Versioned | None:
        """Returns the current value, or None when the key is absent."""
        return self.values.get(key)

    async def save(self, key: str, value: str, *, etag: str | None = None) -> None:
        """Saves; without etag the last write wins.

        Raises:
            StateConflict: the etag is not current; also for an absent key.
        """
        if etag:
            current = self.values.get(key)
            if current is None or current.etag != etag:
                raise StateConflict("State.SaveState", f"the etag {etag} of {key} is not current")
        self._last_etag += 1
        self.values[key] = Versioned(value, str(self._last_etag))

    async def delete(self, key: str) -> None:
        """Removes the key; an absent key is no error."""
        self.values.pop(key, None)

    async def register(self, keys: Sequence[str]) -> None:
        """Makes keys visible to `get_all`."""
        self.registered.update(keys)

    async def get_all(self) -> Mapping[str, str]:
        """Returns the values of registered keys: possibly not all there are."""
        return {key: kept.value for key, kept in self.values.items() if key in self.registered}

    def restart(self) -> None:
        """Forgets which keys were registered, as an API that starts again does."""
        self.registered.clear()


class MemoryEventSink:
    """`ports.EventSink` that keeps what it accepts in `events`, in order."""

    def __init__(
        self,
        *,
        refused_topics: Container[str] = frozenset(),
        max_batch: int = 1024,
        max_in_flight: int = 1,
        ordered: bool = False,
    ) -> None:
        self.events: list[Event] = []
        self.refused_topics = refused_topics
        self._max_batch = max_batch
        self._max_in_flight = max_in_flight
        self._ordered = ordered

    @property
    def max_batch(self) -> int:
        """Events in one call at most."""
        return self._max_batch

    @property
    def max_in_flight(self) -> int:
        """Calls at a time that make sense."""
        return self._max_in_flight

    @property
    def ordered(self) -> bool:
        """Whether calls that overlap keep their order: no call here ever waits for anything."""
        return self._ordered

    async def publish(self, events: Sequence[Event]) -> PublishResult:
        """Accepts events in order, stopping at the first on a refused topic."""
        for index, event in enumerate(events):
            if event.route.topic in self.refused_topics:
                refusal = Refusal(definite=True, problem=f"topic {event.route.topic} is refused")
                return PublishResult(index, refusal)
            self.events.append(event)
        return PublishResult(len(events))


class MemorySecrets:
    """`ports.Secrets` from a mapping, which may change between two readings."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    async def read(self, names: Collection[str]) -> SecretValues:
        """Returns the present values of exactly these secrets.

        Raises:
            SecretMissing: with every name that has none.
        """
        missing = {name: "has no value" for name in names if not self.values.get(name)}
        if missing:
            raise SecretMissing(missing)
        return SecretValues({name: self.values[name] for name in names})
