"""The virtufin-api as one object: state store and event sink on one channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from websocketmanager.adapters.virtufin_api.breaker import BreakerState
from websocketmanager.adapters.virtufin_api.channel import ApiChannel, Inject
from websocketmanager.adapters.virtufin_api.publishing import ApiEventSink, Mode
from websocketmanager.adapters.virtufin_api.settings import ApiSettings
from websocketmanager.adapters.virtufin_api.state import ApiStateStore
from websocketmanager.domain.envelope import Parcel
from websocketmanager.ports import Clock, Dice, Journal, PublishResult, Versioned


class VirtufinApi:
    """`ports.StateStore` and `ports.EventSink` over one gRPC channel.

    Make it while an event loop runs; `close` it when nobody calls any more. Connecting happens
    with the first call, so an API that is not there yet is no error here.
    """

    def __init__(
        self, settings: ApiSettings, *, clock: Clock, dice: Dice, journal: Journal, inject: Inject
    ) -> None:
        self._settings = settings
        self._channel = ApiChannel(settings, clock=clock, dice=dice, journal=journal, inject=inject)
        self._state = ApiStateStore(self._channel)
        self._events = ApiEventSink(self._channel, settings, clock=clock, journal=journal)

    def __repr__(self) -> str:
        return f"VirtufinApi({self._settings.target}, breaker {self.breaker_state})"

    @property
    def breaker_state(self) -> BreakerState:
        """The state of the circuit breaker towards the target."""
        return self._channel.breaker_state

    @property
    def publish_mode(self) -> Mode:
        """By which RPC events are published; chosen with the first of them."""
        return self._events.mode

    async def close(self) -> None:
        """Closes the channel; nobody may be calling any more."""
        await self._channel.close()

    # --- ports.StateStore ----------------------------------------------------------------

    async def get(self, key: str) -> Versioned | None:
        """See `ports.StateStore.get`."""
        return await self._state.get(key)

    async def save(self, key: str, value: str, *, etag: str | None = None) -> None:
        """See `ports.StateStore.save`."""
        await self._state.save(key, value, etag=etag)

    async def delete(self, key: str) -> None:
        """See `ports.StateStore.delete`."""
        await self._state.delete(key)

    async def register(self, keys: Sequence[str]) -> None:
        """See `ports.StateStore.register`."""
        await self._state.register(keys)

    async def get_all(self) -> Mapping[str, str]:
        """See `ports.StateStore.get_all`."""
        return await self._state.get_all()

    # --- ports.EventSink -----------------------------------------------------------------

    @property
    def max_batch(self) -> int:
        """See `ports.EventSink.max_batch`; changes when the publish mode is chosen."""
        return self._events.max_batch

    @property
    def max_in_flight(self) -> int:
        """See `ports.EventSink.max_in_flight`; changes when the publish mode is chosen."""
        return self._events.max_in_flight

    @property
    def ordered(self) -> bool:
        """See `ports.EventSink.ordered`; changes when the publish mode is chosen."""
        return self._events.ordered

    async def publish(self, events: Sequence[Parcel]) -> PublishResult:
        """See `ports.EventSink.publish`."""
        return await self._events.publish(events)
