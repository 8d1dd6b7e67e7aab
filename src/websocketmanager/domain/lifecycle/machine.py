"""What the rules of the lifecycle remember of one connection, and what its intent asks of them."""

from __future__ import annotations

from dataclasses import dataclass

from websocketmanager.domain.failure import Failure
from websocketmanager.domain.lifecycle.words import (
    Command,
    EndReason,
    State,
)
from websocketmanager.domain.model import Cause, FirstDial, Status
from websocketmanager.domain.retry import BackoffPolicy


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Policy:
    """What the caller's intent means for the rules.

    Attributes:
        auto_reconnect: dial again after a loss.
        first_dial: whether a failed first dial ends the connection.
        backoff: delays and attempts.
        close_grace_seconds: how long a closing handshake may take.
        make_before_break: whether a second session may exist beside the one it replaces.
    """

    auto_reconnect: bool
    first_dial: FirstDial
    backoff: BackoffPolicy
    close_grace_seconds: float
    make_before_break: bool = True


@dataclass(frozen=True, slots=True)
class Machine:
    """All that the rules remember of one connection.

    Attributes:
        state: where it is.
        generation: number of the dial that counts.
        successor: number of the dial that shall replace it; 0: there is none.
        last_generation: the highest number that was given to a dial.
        rotation_attempt: failed rotations in this row.
        attempt: number of the last attempt in this row, from 1; 0 once a session was stable.
        ever_open: whether it was open before, in any process.
        end: why it is closing or done.
    """

    state: State = State.IDLE
    generation: int = 0
    successor: int = 0
    last_generation: int = 0
    rotation_attempt: int = 0
    attempt: int = 0
    ever_open: bool = False
    end: EndReason | None = None

    @property
    def status(self) -> Status:
        """The wire status: a projection of the state."""
        if self.state in {State.OPEN, State.ROTATING, State.HANDING_OVER}:
            return Status.CONNECTED
        if self.state in {State.CLOSING, State.DONE}:
            return Status.DISCONNECTED
        if self.state is State.WAITING or self.ever_open or self.attempt > 1:
            return Status.RECONNECTING
        return Status.CONNECTING

    @property
    def next_generation(self) -> int:
        """The number of the next dial."""
        return max(self.generation, self.last_generation) + 1


Commands = tuple[Command, ...]
Outcome = tuple[Machine, Commands]


def cause_of(failure: Failure) -> Cause:
    """Returns what is shown and stored of a failure."""
    return Cause(failure.kind.value, failure.message, failure.close_code, failure.close_reason)
