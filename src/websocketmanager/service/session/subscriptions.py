"""Brings one session's subscriptions to the desired set: written once, in turn, acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from websocketmanager.domain.model import Message
from websocketmanager.domain.options import Pattern
from websocketmanager.domain.plan import PlannedSubscription
from websocketmanager.ports import Clock
from websocketmanager.service.session.chores import Chores
from websocketmanager.service.session.speaker import Speaker

#: How long a subscription's acknowledgement may take.
_ACKNOWLEDGE_SECONDS = 10.0
UNACKNOWLEDGED = "subscription_unacknowledged"


class Subscriptions:
    """The subscriptions of one session.

    Args:
        clock: for the time that an acknowledgement may take.
        speaker: writes the messages.
        chores: of the session.
        secrets: names of all secrets that the plan of this moment refers to.
        told: whom a change of what is owed is told: a detail when an acknowledgement is
            overdue; None when none is owed any more.
        all_written: called when the last one was written.
    """

    __slots__ = (
        "_all_written",
        "_awaited",
        "_chores",
        "_clock",
        "_owed",
        "_secrets",
        "_speaker",
        "_told",
        "_unwritten",
        "_writing",
    )

    def __init__(
        self,
        clock: Clock,
        speaker: Speaker,
        chores: Chores,
        *,
        secrets: Callable[[], frozenset[str]],
        told: Callable[[str | None], None],
        all_written: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._speaker = speaker
        self._chores = chores
        self._secrets = secrets
        self._told = told
        self._all_written = all_written
        # What is to be written: a subscription, and whether it is wanted or no longer.
        self._unwritten: tuple[tuple[PlannedSubscription, bool], ...] = ()
        self._writing = False
        # Whose answer is due, in the order of writing: a key, and whether it is wanted.
        self._awaited: dict[tuple[str, bool], PlannedSubscription] = {}
        # By key: whether the acknowledgement that is owed is overdue. No two sets: 432 bytes.
        self._owed: dict[str, bool] = {}

    @property
    def waiting(self) -> bool:
        """Whether a message may be an acknowledgement."""
        return bool(self._awaited)

    @property
    def written(self) -> bool:
        """Whether all of them were written."""
        return not self._unwritten and not self._writing

    @property
    def settled(self) -> bool:
        """Whether all were written, and acknowledged or given up."""
        return self.written and all(self._owed.values())

    def begin(self, wanted: Iterable[PlannedSubscription]) -> None:
        """Writes the desired set."""
        self._write_later([(one, True) for one in wanted])

    def change(
        self, removed: Iterable[PlannedSubscription], added: Iterable[PlannedSubscription]
    ) -> None:
        """Brings the session from one desired set to another."""
        keys = {gone.key for gone in removed}
        unwritten = {one.key for one, wanted in self._unwritten if wanted}
        self._unwritten = tuple(
            (one, wanted) for one, wanted in self._unwritten if not (wanted and one.key in keys)
        )
        for key in keys:
            self._forget(key)
        self._write_later(
            [(gone, False) for gone in removed if gone.key not in unwritten]
            + [(one, True) for one in added]
        )

    def take(self, message: Message) -> bool:
        """Returns whether the message is an acknowledgement: then it is not forwarded.

        One message may acknowledge several; of those that wait for the same, it is the first's.
        """
        if not self._awaited:
            return False
        found: dict[Pattern | None, tuple[str, bool]] = {}
        for due, one in self._awaited.items():
            if one.acknowledge_source not in found and _acknowledges(message, one):
                found[one.acknowledge_source] = due
        for key, wanted in found.values():
            if wanted:
                self._forget(key)
            else:
                self._awaited.pop((key, False))
        if found and not self._owed:
            self._told(None)
        return bool(found)

    def _write_later(self, changes: list[tuple[PlannedSubscription, bool]]) -> None:
        """Has changes written one after the other: an unsubscribe must not overtake."""
        for one, wanted in changes:
            if wanted and one.acknowledge:
                self._owed.setdefault(one.key, False)
        self._unwritten = (*self._unwritten, *changes)
        if self._unwritten and not self._writing:
            self._writing = True
            self._chores.begin(self._write_all)
        if not self._owed:
            self._told(None)

    async def _write_all(self) -> None:
        speaker = self._speaker
        while self._unwritten:
            await speaker.wait_turn()
            await speaker.learn(self._secrets())
            if not self._unwritten:
                break  # taken back meanwhile
            (one, wanted), *rest = self._unwritten
            self._unwritten = tuple(rest)
            speech = one.subscribe if wanted else one.unsubscribe
            if speech is None:
                continue
            data = speaker.said(speech)
            if one.acknowledge is not None:
                # Before it is written: the answer may be read before the write returns.
                self._await(one, wanted=wanted)
            await speaker.write(data, speech.kind)
        self._writing = False
        self._all_written()

    def _await(self, one: PlannedSubscription, *, wanted: bool) -> None:
        key = one.key
        self._awaited[key, wanted] = one
        at = self._clock.monotonic() + _ACKNOWLEDGE_SECONDS

        def overdue() -> None:
            if (key, True) in self._awaited:
                self._owed[key] = True
                self._told(f"{key}: no acknowledgement within {_ACKNOWLEDGE_SECONDS:g} s")

        def given_up() -> None:
            # Servers answer an unsubscribe like a subscribe, or not at all: nothing is owed.
            self._awaited.pop((key, False), None)

        name = f"acknowledge {key}" if wanted else f"leave {key}"
        self._chores.at(name, at, overdue if wanted else given_up)

    def _forget(self, key: str) -> None:
        """An acknowledgement came, or is not wanted any more."""
        self._awaited.pop((key, True), None)
        self._owed.pop(key, None)
        self._chores.cancel(f"acknowledge {key}")


def _acknowledges(message: Message, one: PlannedSubscription) -> bool:
    return one.acknowledge is not None and one.acknowledge.matches(message)
