"""What `Update` changes of a connection's intent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from websocketmanager.domain.model import ConnectionId, ConnectionSpec, Topic
from websocketmanager.domain.options import Subscription


@dataclass(frozen=True, slots=True)
class SubscriptionsChange:
    """A change of the desired set.

    Attributes:
        whole: the set from now on; None: what there is, changed by the other two.
        add: put at the end, or in the place of the one with the same key.
        remove: keys that leave; one that is not there is no error.
    """

    whole: tuple[Subscription, ...] | None = None
    add: tuple[Subscription, ...] = ()
    remove: tuple[str, ...] = ()

    def applied(self, present: tuple[Subscription, ...]) -> tuple[Subscription, ...]:
        """Returns the set after the change; the order of what stays is kept."""
        if self.whole is not None:
            return self.whole
        wanted = {one.key: one for one in present if one.key not in self.remove}
        wanted |= {one.key: one for one in self.add}
        return tuple(wanted.values())


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """What a caller wants changed, all of it or nothing; None: stays as it is.

    Attributes:
        connection_id: whose intent it is.
        reroute: whether `topic` is the topic from now on.
        topic: None: nothing is published.
        tags: all tags from now on.
        subscriptions: how the desired set changes.
    """

    connection_id: ConnectionId
    reroute: bool = False
    topic: Topic | None = None
    tags: Mapping[str, str] | None = None
    subscriptions: SubscriptionsChange | None = None

    def applied(self, spec: ConnectionSpec) -> ConnectionSpec:
        """Returns the intent after the change."""
        if self.reroute:
            spec = replace(spec, topic=self.topic)
        if self.tags is not None:
            spec = replace(spec, tags=dict(self.tags))
        if self.subscriptions is not None:
            wanted = self.subscriptions.applied(spec.options.subscriptions)
            spec = replace(spec, options=replace(spec.options, subscriptions=wanted))
        return spec


def subscription_changes(
    before: tuple[Subscription, ...], after: tuple[Subscription, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the keys to unsubscribe, as they were, and those to subscribe, as they are.

    What is said to subscribe decides: another acknowledgement alone says nothing to the server.
    """
    old = {one.key: one.subscribe for one in before}
    new = {one.key: one.subscribe for one in after}
    gone = tuple(key for key, said in old.items() if new.get(key) != said)
    come = tuple(key for key, said in new.items() if old.get(key) != said)
    return gone, come
