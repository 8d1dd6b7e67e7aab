"""What a failure means to a person: sentences, what to do next, and how the command ends. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from websocketmanager.errors import (
    ApiError,
    ApiUnavailable,
    InstanceIdInUse,
    SettingsInvalid,
)
from websocketmanager.terminal.exits import Exit, advice, exit_of
from websocketmanager.terminal.lines import printable
from websocketmanager.terminal.remote import CallFailed

#: Characters of a peer's sentence that are shown.
_LIMIT = 2000


@dataclass(frozen=True, slots=True)
class Told:
    """One failure, explained."""

    sentences: tuple[str, ...]
    next: str
    exit: Exit

    @property
    def lines(self) -> tuple[str, ...]:
        """The explanation as lines for stderr."""
        return (*(f"error: {one}" for one in self.sentences), f"next:  {self.next}")


def explain(failure: Exception) -> Told:
    """Returns the explanation of any failure that a command may expect."""
    match failure:
        case SettingsInvalid():
            return Told(
                tuple(f"configuration: {fault}" for fault in failure.faults),
                "correct them; `websocketmanager check-config` shows what is in force, and from "
                "where",
                Exit.USAGE,
            )
        case CallFailed():
            return _explain_call(failure)
        case InstanceIdInUse():
            then = "stop the other process, or choose another --instance-id"
            return Told((str(failure),), then, Exit.USAGE)
        case ApiError():
            ends = Exit.UNREACHABLE if isinstance(failure, ApiUnavailable) else Exit.REFUSED
            then = "check --api-host, --api-grpc-port and VIRTUFIN_API_KEY"
            return Told((str(failure),), then, ends)
        case _:
            return Told((str(failure),), "the log above may say more", Exit.FAILED)


def _explain_call(failed: CallFailed) -> Told:
    sentences = [printable(str(failed), limit=_LIMIT)]
    if failed.reason:
        facts = "".join(f" {key}={value}" for key, value in failed.facts.items())
        sentences.append(printable(failed.reason + facts, limit=_LIMIT))
    unreachable = "start it with `websocketmanager serve` (or `dev`), or point --server to it"
    if failed.peer == "virtufin-api":
        unreachable = (
            "start it (`websocketmanager api` or `dev`), or check --api-host and --api-grpc-port"
        )
    return Told(
        tuple(sentences),
        advice(failed.code, failed.reason, unreachable=unreachable),
        exit_of(failed.code, failed.reason),
    )
