"""Evaluates the expressions that `template` parsed. Pure, total, bounded; stdlib only.

Everything is UTF-8 bytes here. What an evaluation makes, the result and all on the way to it, is
paid for from one budget, so that no nesting of functions costs more than a fixed amount of work.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final
from urllib.parse import quote_from_bytes

#: UTF-8 bytes of the result and of everything made on the way, together.
MAX_RESULT_BYTES: Final = 1_048_576

_LAST_SECOND_OF_9999: Final = 253_402_300_799
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class EvaluationFailed(ValueError):
    """A template has no value here and now. The text holds no secret."""


class MissingSecret(EvaluationFailed):
    """No secret has this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"there is no secret named {name}")


class UnusableSecret(EvaluationFailed):
    """The secret's value is not what the template needs."""

    def __init__(self, *, name: str, problem: str) -> None:
        self.name = name
        super().__init__(f"the secret named {name} {problem}")


class ResultTooLarge(EvaluationFailed):
    """The value would exceed its bound."""

    def __init__(self) -> None:
        super().__init__(f"the template's value needs more than {MAX_RESULT_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """What the expressions of one evaluation see.

    Attributes:
        now: Unix seconds, from 0 to the last second of the year 9999.
        nonce: random hexadecimal digits.
        uuid: a new UUID.
        secrets: values by name; more than a template needs do no harm.

    Raises:
        ValueError: `now` is out of range.
    """

    now: float
    nonce: str
    uuid: str
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.now <= _LAST_SECOND_OF_9999:
            raise ValueError(f"now is not a time from 1970 to 9999: {self.now}")

    @property
    def microseconds(self) -> int:
        """Whole microseconds since 1970; the nearest, for a float lies beside them."""
        return round(self.now * 1_000_000)


class Own(Enum):
    """The values that a context makes alone, by their names in a template."""

    NONCE = "nonce"
    UUID = "uuid"
    ISO = "time.iso"


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The time in units of so many microseconds, rounded down, plus an offset in units."""

    unit_microseconds: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret's value, or the bytes that it spells in base64."""

    name: str
    is_base64: bool = False

    @property
    def makes_bytes(self) -> bool:
        """Whether the value need not be text."""
        return self.is_base64


@dataclass(frozen=True, slots=True)
class Call:
    """A function of `FUNCTIONS`, applied."""

    function: str
    arguments: tuple[Node, ...]

    @property
    def makes_bytes(self) -> bool:
        """Whether the value need not be text."""
        return self.function.startswith("hmac.")


#: A string stands for itself.
Node = str | Own | ClockReading | Secret | Call


def evaluated(nodes: Sequence[Node], context: EvaluationContext) -> str:
    """Returns the joined values of nodes of which none makes bytes.

    Raises:
        MissingSecret: the context lacks a secret.
        UnusableSecret: a secret is no Unicode text, or no base64 where it must be.
        ResultTooLarge: the value exceeds `MAX_RESULT_BYTES`.
    """
    evaluation = _Evaluation(context)
    return b"".join(map(evaluation.value, nodes)).decode()


class _Evaluation:
    def __init__(self, context: EvaluationContext) -> None:
        self._context = context
        self._left = MAX_RESULT_BYTES

    def value(self, node: Node) -> bytes:
        value = self._made(node)
        self._left -= len(value)
        if self._left < 0:
            raise ResultTooLarge
        return value

    def _made(self, node: Node) -> bytes:
        match node:
            case str():
                return node.encode()
            case Own():
                return self._own(node).encode()
            case ClockReading(unit_microseconds=unit, offset=offset):
                return b"%d" % (self._context.microseconds // unit + offset)
            case Secret():
                return self._secret(node)
            case Call(function=function, arguments=arguments):
                return FUNCTIONS[function]([self.value(argument) for argument in arguments])

    def _own(self, own: Own) -> str:
        match own:
            case Own.NONCE:
                return self._context.nonce
            case Own.UUID:
                return self._context.uuid
            case Own.ISO:
                moment = _EPOCH + timedelta(microseconds=self._context.microseconds)
                return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _secret(self, secret: Secret) -> bytes:
        value = self._context.secrets.get(secret.name)
        if value is None:
            raise MissingSecret(secret.name)
        # Nothing is chained: a cause may hold the value.
        try:
            data = value.encode()
        except UnicodeEncodeError:
            raise UnusableSecret(name=secret.name, problem="is no Unicode text") from None
        if not secret.is_base64:
            return data
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error:
            raise UnusableSecret(name=secret.name, problem="is not base64") from None


def _hmac(digest: str) -> Callable[[Sequence[bytes]], bytes]:
    def sign(arguments: Sequence[bytes]) -> bytes:
        key, *parts = arguments
        return hmac.digest(key, b"".join(parts), digest)

    return sign


def _json(arguments: Sequence[bytes]) -> bytes:
    return json.dumps(b"".join(arguments).decode(), ensure_ascii=False)[1:-1].encode()


#: By name in a template; `hmac.…` take a key and a message, `json` takes text only.
FUNCTIONS: Final[Mapping[str, Callable[[Sequence[bytes]], bytes]]] = {
    "hex": lambda arguments: b"".join(arguments).hex().encode(),
    "base64": lambda arguments: base64.b64encode(b"".join(arguments)),
    "json": _json,
    "url": lambda arguments: quote_from_bytes(b"".join(arguments), safe="").encode(),
    "hmac.sha256": _hmac("sha256"),
    "hmac.sha384": _hmac("sha384"),
    "hmac.sha512": _hmac("sha512"),
}
