"""Says what a plan wants said on one socket: evaluated right before, in turn, and scrubbed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from websocketmanager.domain.failure import Failure, FailureKind, SocketFailed
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.plan import Speech
from websocketmanager.domain.secrets import SecretValues
from websocketmanager.domain.template import EvaluationContext, EvaluationFailed
from websocketmanager.errors import SecretMissing
from websocketmanager.ports import Clock, Dice, Secrets, Socket
from websocketmanager.service.session.chores import Unsayable
from websocketmanager.service.spacing import Spacer

#: What is known before a plan asks for more: nearly all never do, and share it.
_NO_SECRETS = SecretValues({})


class Speaker:
    """The voice of one attempt.

    Args:
        clock, dice: for times and nonces in templates, and for the spacing.
        secrets: where the values of secrets are.
        spacing_seconds: at least between two frames.

    Attributes:
        socket: set once it is open.
    """

    __slots__ = ("_clock", "_dice", "_source", "_spacer", "_values", "socket")

    def __init__(
        self, clock: Clock, dice: Dice, secrets: Secrets, *, spacing_seconds: float
    ) -> None:
        self._clock = clock
        self._dice = dice
        self._source = secrets
        self._values = _NO_SECRETS
        self._spacer = Spacer(clock, spacing_seconds=spacing_seconds) if spacing_seconds else None
        self.socket: Socket | None = None

    async def learn(self, names: Collection[str]) -> None:
        """Looks up the secrets that are not known yet.

        Raises:
            Unsayable: one cannot be had.
        """
        fresh = set(names) - set(self._values)
        if not fresh:
            return
        try:
            values = await self._source.read(fresh)
        except SecretMissing as error:
            raise Unsayable(Failure(FailureKind.SECRET_MISSING, str(error))) from None
        self._values = SecretValues({**self._values, **values})

    def context(self) -> EvaluationContext:
        """Returns what templates may know now."""
        return EvaluationContext(
            now=self._clock.now(),
            nonce=self._dice.token_bytes(16).hex(),
            uuid=self._dice.uuid(),
            secrets=self._values,
        )

    def said(self, speech: Speech) -> bytes:
        """Returns one message, evaluated: right before it is written, as it may hold the time.

        Raises:
            Unsayable: it cannot be made.
        """
        try:
            return speech.said(self.context())
        except EvaluationFailed as error:
            raise Unsayable(Failure(FailureKind.SECRET_MISSING, str(error))) from None

    @property
    def is_spaced(self) -> bool:
        """Whether a frame may have to wait for its turn."""
        return self._spacer is not None

    async def wait_turn(self) -> None:
        """Waits until the next frame may be written."""
        if self._spacer is not None:
            await self._spacer.wait_turn()

    async def write(self, data: bytes, kind: Kind) -> None:
        """Writes one message now.

        Raises:
            SocketFailed: the socket ended.
        """
        assert self.socket is not None  # noqa: S101 - only an open session writes
        try:
            await self.socket.send(data, kind)
        except SocketFailed as error:
            raise SocketFailed(self.scrubbed(error.failure)) from None

    async def say(self, speech: Speech) -> None:
        """Evaluates and writes one message. Raises as `said` and `write`."""
        await self.write(self.said(speech), speech.kind)

    def scrubbed(self, failure: Failure) -> Failure:
        """Returns the failure without any secret in its words."""
        return replace(
            failure,
            message=self._values.scrubbed(failure.message),
            close_reason=self._values.scrubbed(failure.close_reason),
        )

    def scrub(self, text: str) -> str:
        """Returns a text without any secret in it."""
        return self._values.scrubbed(text)
