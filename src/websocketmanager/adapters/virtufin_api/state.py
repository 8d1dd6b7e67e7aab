"""State of the virtufin-api as `ports.StateStore`; the `service` is always ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from google.protobuf.message import Message

from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.adapters.virtufin_api.answers import TRANSIENT, CallFailed, Verdict
from websocketmanager.adapters.virtufin_api.channel import Answer, ApiChannel, Rpc
from websocketmanager.ports import Versioned

_SERVICE = "websocketmanager"
#: State calls are safe to repeat, so a failure without a reason is repeated too.
_AGAIN = TRANSIENT | {Verdict.VAGUE}
_AGAIN_WITH_ETAG = _AGAIN - {Verdict.CONFLICT}


class ApiStateStore:
    """`ports.StateStore` over the fixed RPCs of `State`."""

    def __init__(self, channel: ApiChannel) -> None:
        self._channel = channel
        self._get = channel.rpc("State.GetState", pb.GetStateResponse, judged=False)
        self._save = channel.rpc("State.SaveState", pb.SaveStateResponse)
        self._delete = channel.rpc("State.DeleteState", pb.DeleteStateResponse)
        self._register = channel.rpc("State.RegisterKeys", pb.RegisterKeysResponse)
        self._get_all = channel.rpc("State.GetAllState", pb.GetAllStateResponse, judged=False)

    async def get(self, key: str) -> Versioned | None:
        """Returns the current value, or None when the key is absent."""
        answer = await self._call(self._get, pb.GetStateRequest(service=_SERVICE, key=key))
        # The API has no NOT_FOUND: an absent key answers with empty value and etag.
        if not answer.value and not answer.etag:
            return None
        return Versioned(answer.value, answer.etag)

    async def save(self, key: str, value: str, *, etag: str | None = None) -> None:
        """Saves; without etag the last write wins.

        Raises:
            StateConflict: the etag is not current; also of a repeated save that had been done.
        """
        request = pb.SaveStateRequest(service=_SERVICE, key=key, value=value, etag=etag or "")
        await self._call(self._save, request, again=_AGAIN_WITH_ETAG if etag else _AGAIN)

    async def delete(self, key: str) -> None:
        """Removes the key; an absent key is no error."""
        await self._call(self._delete, pb.DeleteStateRequest(service=_SERVICE, key=key))

    async def register(self, keys: Sequence[str]) -> None:
        """Makes keys visible to `get_all`."""
        if keys:
            request = pb.RegisterKeysRequest(service=_SERVICE, keys=keys)
            await self._call(self._register, request)

    async def get_all(self) -> Mapping[str, str]:
        """Returns the values of registered keys: possibly not all there are."""
        answer = await self._call(self._get_all, pb.GetAllStateRequest(service=_SERVICE))
        return dict(answer.values)

    async def _call(
        self, rpc: Rpc[Answer], request: Message, *, again: AbstractSet[Verdict] = _AGAIN
    ) -> Answer:
        try:
            return await self._channel.call(rpc, request.SerializeToString(), again=again)
        except CallFailed as failed:
            raise failed.error from failed
