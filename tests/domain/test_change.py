"""What `Update` makes of an intent, and what it has to say to the server."""

from __future__ import annotations

import pytest

from websocketmanager.domain.change import (
    ConnectionChange,
    SubscriptionsChange,
    subscription_changes,
)
from websocketmanager.domain.model import ConnectionId, ConnectionOptions, ConnectionSpec, Topic
from websocketmanager.domain.options import Match, Pattern, Payload, Subscription

ID = ConnectionId("x")


def sub(key: str, text: str = "", **more: Pattern) -> Subscription:
    return Subscription(key, Payload(text=text or f"+{key}"), Payload(text=f"-{key}"), **more)


A, B, C = sub("a"), sub("b"), sub("c")
SPEC = ConnectionSpec(
    "wss://x/", tags={"t": "1"}, topic=Topic("a.b"), options=ConnectionOptions(subscriptions=(A, B))
)


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (SubscriptionsChange(whole=(C,)), (C,)),
        (SubscriptionsChange(whole=()), ()),
        (SubscriptionsChange(add=(C,)), (A, B, C)),
        (SubscriptionsChange(add=(sub("a", "new"),)), (sub("a", "new"), B)),
        (SubscriptionsChange(remove=("a", "unknown")), (B,)),
        (SubscriptionsChange(add=(C,), remove=("a",)), (B, C)),
    ],
)
def test_subscriptions(change: SubscriptionsChange, after: tuple[Subscription, ...]) -> None:
    assert change.applied((A, B)) == after
    assert change.applied(after) == after, "a gateway may repeat the call"


def test_what_is_not_named_stays() -> None:
    assert ConnectionChange(ID).applied(SPEC) == SPEC
    assert ConnectionChange(ID, reroute=True).applied(SPEC).topic is None
    rerouted = ConnectionChange(ID, reroute=True, topic=Topic("c.d")).applied(SPEC)
    assert (rerouted.topic, rerouted.tags, rerouted.options) == ("c.d", SPEC.tags, SPEC.options)
    retagged = ConnectionChange(ID, tags={}).applied(SPEC)
    assert (retagged.topic, retagged.tags) == (SPEC.topic, {})
    change = ConnectionChange(ID, subscriptions=SubscriptionsChange(remove=("b",)))
    assert change.applied(SPEC).options.subscriptions == (A,)


@pytest.mark.parametrize(
    ("after", "gone", "come"),
    [
        ((A, B), (), ()),
        ((B, A), (), ()),
        ((A, C), ("b",), ("c",)),
        ((sub("a", "new"), B), ("a",), ("a",)),
        ((sub("a", acknowledge=Pattern(Match.POINTER, pointer="/x")), B), (), ()),
    ],
)
def test_only_what_differs_is_said(
    after: tuple[Subscription, ...], gone: tuple[str, ...], come: tuple[str, ...]
) -> None:
    assert subscription_changes((A, B), after) == (gone, come)
