"""Makes events of what the log on disk kept: the same ids, times, places and bytes as ever."""

from __future__ import annotations

import json
from dataclasses import replace

from websocketmanager.domain.envelope import (
    Parcel,
    Route,
    StreamIdentity,
    marker_event,
    marker_route,
    message_route,
    message_run,
)
from websocketmanager.domain.model import Format, Topic
from websocketmanager.domain.overflow import LogRun

#: Routes that it remembers: those of a few sessions, topics and markers.
_MAX_ROUTES = 8


class Restorer:
    """Of one connection.

    Args:
        identity: of the connection; its session is the last one that the store knows.
        format: what an event's data holds.
    """

    def __init__(self, identity: StreamIdentity, format: Format) -> None:
        self._identity = identity
        self._format = format
        self._routes: dict[tuple[int, int, Topic, str], tuple[Route, StreamIdentity]] = {}

    def is_stray(self, entry: LogRun) -> bool:
        """Whether its id may be another message's by now.

        A log that could not be opened at first may hold a session of an earlier process that the
        store never learnt of: the present process has given its number away again.
        """
        known = self._identity
        return entry.owner_epoch < known.owner_epoch and entry.session > known.session

    def restored(self, entry: LogRun) -> Parcel:
        """Returns the events of entries."""
        route, identity = self._route_of(entry)
        if entry.marker:
            return marker_event(
                route,
                identity,
                marker=entry.marker,
                sequence=entry.first,
                at=entry.at,
                facts=json.loads(entry.payloads[0]),
            )
        return message_run(
            route,
            identity,
            entry.kind,
            entry.payloads,
            entry.first,
            entry.at,
            self._format,
        )

    def _route_of(self, entry: LogRun) -> tuple[Route, StreamIdentity]:
        key = entry.session, entry.owner_epoch, entry.topic, entry.marker
        if key not in self._routes:
            identity = replace(self._identity, session=entry.session, owner_epoch=entry.owner_epoch)
            route = (
                marker_route(identity, entry.topic, entry.marker)
                if entry.marker
                else message_route(identity, entry.topic)
            )
            recent = list(self._routes.items())[: _MAX_ROUTES - 1]
            self._routes = {key: (route, identity), **dict(recent)}
        return self._routes[key]
