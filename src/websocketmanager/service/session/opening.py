"""Opens one socket: secrets, evaluated target, dial, and the opening dialogue."""

from __future__ import annotations

from dataclasses import dataclass, field

from websocketmanager.domain.failure import Failure, FailureKind, SocketFailed
from websocketmanager.domain.model import Message
from websocketmanager.domain.options import TlsOptions
from websocketmanager.domain.pattern import CompiledPattern
from websocketmanager.domain.plan import Plan
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.domain.template import EvaluationContext, EvaluationFailed
from websocketmanager.domain.url_template import evaluated_proxy, evaluated_url
from websocketmanager.errors import InvalidArgument
from websocketmanager.ports import Clock, Dialer, DialTarget, Socket
from websocketmanager.service.pacing import Pacer
from websocketmanager.service.session.chores import Unsayable
from websocketmanager.service.session.speaker import Speaker

#: Messages that may be kept while nobody can take them yet.
MAX_EARLY = 10_000
MAX_EARLY_BYTES = 32 * 1024 * 1024
#: Of the server's words that are repeated in a failure.
_MAX_WORDS = 200


@dataclass(slots=True)
class Early:
    """What arrived before it could be delivered, in order.

    Attributes:
        max_messages: with so many it is full.
        max_bytes: with so many it is full.
        messages: each with whether it is a reply that belongs to the dialogue.
        size: bytes of all.
    """

    max_messages: int = MAX_EARLY
    max_bytes: int = MAX_EARLY_BYTES
    messages: list[tuple[Message, bool]] = field(default_factory=list)
    size: int = 0

    def add(self, message: Message, *, reply: bool = False) -> None:
        """Keeps one more."""
        self.messages.append((message, reply))
        self.size += len(message.data)

    @property
    def full(self) -> bool:
        """Whether it must not become more."""
        return len(self.messages) >= self.max_messages or self.size >= self.max_bytes


class Opening:
    """One attempt to open a socket and to be let in.

    Args:
        plan: what is said and expected.
        speaker: says it.
        clock, dialer, pacer, policy: of the process.

    Attributes:
        early: what came during the dialogue and is to be delivered after it.
    """

    def __init__(
        self,
        plan: Plan,
        speaker: Speaker,
        *,
        clock: Clock,
        dialer: Dialer,
        pacer: Pacer,
        policy: ServicePolicy,
    ) -> None:
        self._plan = plan
        self._speaker = speaker
        self._clock = clock
        self._dialer = dialer
        self._pacer = pacer
        self._policy = policy
        self.early = Early()

    async def target(self) -> DialTarget:
        """Returns what is to be dialled now, with the present values of its secrets.

        Raises:
            Unsayable: a secret lacks, or what comes out is no address or header.
        """
        await self._speaker.learn(self._plan.secrets)
        try:
            return self._target(self._speaker.context())
        except (EvaluationFailed, InvalidArgument) as error:
            # Their texts hold no secret.
            raise Unsayable(Failure(FailureKind.SECRET_MISSING, str(error))) from None

    async def dial(self) -> Socket:
        """Waits for the host's turn and opens a socket.

        Raises:
            SocketFailed: it could not be opened.
        """
        await self._pacer.wait_turn(self._plan.spec.url)
        socket = await self._dialer.dial(await self.target())
        self._speaker.socket = socket
        return socket

    async def converse(self, socket: Socket) -> None:
        """The opening dialogue: each step says its word and waits for its answer.

        Raises:
            SocketFailed: the server refuses, does not answer in time, or ends the socket.
        """
        speaker = self._speaker
        for number, step in enumerate(self._plan.steps, 1):
            limit = step.timeout_seconds or self._policy.default_timeout_seconds
            if step.send is not None:
                await speaker.wait_turn()
            try:
                async with self._clock.timeout(limit):
                    if step.send is not None:
                        await speaker.say(step.send)
                    reply = await self._answer(socket, step.expect) if step.expect else None
            except TimeoutError:
                what = "no answer" if step.expect else "the server does not read"
                raise _silence(f"step {number}: {what} within {limit:g} s") from None
            if reply is not None and step.forward:
                self.early.add(reply, reply=True)

    async def _answer(self, socket: Socket, expected: CompiledPattern) -> Message:
        early = self.early
        while True:
            message = await socket.recv()
            refuse_refusal(self._plan, self._speaker, message)
            if expected.matches(message):
                return message
            early.add(message)
            if early.full:
                raise _silence(
                    f"{len(early.messages)} messages, {early.size} bytes, "
                    "came before the expected answer"
                )

    def _target(self, context: EvaluationContext) -> DialTarget:
        plan, policy = self._plan, self._policy
        spec, handshake = plan.spec, plan.spec.options.handshake
        tls = {name: text.evaluate(context) for name, text in plan.tls.items()}
        return DialTarget(
            url=evaluated_url(spec.url, context),
            open_timeout_seconds=handshake.open_timeout_ms / 1000 or policy.default_timeout_seconds,
            close_timeout_seconds=handshake.close_timeout_ms / 1000 or policy.close_timeout_seconds,
            max_message_bytes=policy.max_message_bytes(spec),
            headers=tuple((name, text.evaluate(context)) for name, text in plan.headers),
            subprotocols=handshake.subprotocols,
            origin=handshake.origin,
            compression=handshake.compression,
            proxy=evaluated_proxy(handshake.proxy, context) if handshake.proxy else "",
            tls=TlsOptions(server_name=handshake.tls.server_name, **tls),
        )


def refuse_refusal(plan: Plan, speaker: Speaker, message: Message) -> None:
    """Ends the session when the server says no in its own words.

    Raises:
        SocketFailed: it does.
    """
    for rule in plan.refusals:
        if rule.pattern.matches(message):
            # Scrubbed before it is cut: a cut secret is not found any more.
            words = speaker.scrub(message.data.decode(errors="replace"))
            text = f"{rule.name or 'refused'}: {words[:_MAX_WORDS]}"
            raise SocketFailed(Failure(FailureKind.SERVER_REFUSED, text, advice=rule.advice.value))


def _silence(text: str) -> SocketFailed:
    return SocketFailed(Failure(FailureKind.DIALOGUE_TIMEOUT, text))
