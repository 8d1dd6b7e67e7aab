"""Protobuf ↔ domain for `Get`, `Update`, `Watch` and `Tail`, pure; refuses as `translate` does.

May import the domain, errors, our generated messages and its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.api import translate
from websocketmanager.api.translate_options import connection_options
from websocketmanager.domain import limits as judge
from websocketmanager.domain.change import ConnectionChange, SubscriptionsChange
from websocketmanager.domain.envelope import timestamp
from websocketmanager.domain.model import (
    ConnectionDetail,
    ConnectionId,
    ConnectionView,
    LifecycleNotice,
    LiveStatistics,
    TailedMessage,
    Topic,
    Transition,
)
from websocketmanager.domain.option_faults import (
    MAX_SUBSCRIPTION_KEY_LENGTH,
    MAX_SUBSCRIPTIONS,
    option_faults,
)
from websocketmanager.domain.options import Subscription
from websocketmanager.domain.pattern import CompileRegex
from websocketmanager.errors import Fault, InvalidArgument

#: Events and sizes are int64 on the wire.
_MAX_MESSAGE_BYTES = 1 << 30
_MAX_EVENT = (1 << 63) - 1


def change(
    request: pb.UpdateRequest, compile_regex: CompileRegex | None = None
) -> ConnectionChange:
    """Returns what an `Update` asks for.

    Args:
        request: as it came.
        compile_regex: judges regular expressions; None refuses each.

    Raises:
        InvalidArgument: with every fault of every field, also when it changes nothing.
    """
    faults = judge.connection_id_faults(request.id)
    reroute, retag = request.HasField("topic"), request.HasField("tags")
    if request.topic:
        faults += judge.topic_faults(request.topic)
    if retag:
        faults += judge.tags_faults(request.tags.tags, "tags.tags")
    subscriptions = None
    if request.HasField("subscriptions"):
        subscriptions, found = _subscriptions(request.subscriptions, compile_regex)
        faults += found
    elif not (reroute or retag):
        faults.append(Fault("request", "must change topic, tags or subscriptions"))
    _refuse(faults)
    return ConnectionChange(
        connection_id=ConnectionId(request.id.lower()),
        reroute=reroute,
        topic=Topic(request.topic) if request.topic else None,
        tags=dict(request.tags.tags) if retag else None,
        subscriptions=subscriptions,
    )


def watch(
    request: pb.WatchRequest,
) -> tuple[ConnectionId | None, tuple[tuple[str, str], ...], int | None]:
    """Returns the connection if there is one, the tags, and the last event that is known.

    Raises:
        InvalidArgument: with every fault of every field.
    """
    faults = judge.connection_id_faults(request.id) if request.id else []
    after = request.after_event if request.HasField("after_event") else None
    if after is not None:
        faults += judge.range_faults(after, "after_event", 0, _MAX_EVENT)
        if not request.id:
            faults.append(Fault("after_event", "needs id"))
    _refuse(faults)
    filters = translate.filters(pb.ListRequest(filters=request.filters))
    return ConnectionId(request.id.lower()) if request.id else None, filters, after


def tail(request: pb.TailRequest) -> tuple[ConnectionId, int]:
    """Returns the connection and how many bytes of each message are wanted; 0: all.

    Raises:
        InvalidArgument: with every fault of every field.
    """
    size = request.max_message_bytes
    faults = judge.connection_id_faults(request.id)
    _refuse(faults + judge.range_faults(size, "max_message_bytes", 0, _MAX_MESSAGE_BYTES))
    return ConnectionId(request.id.lower()), size


def detail_message(detail: ConnectionDetail) -> pb.GetResponse:
    """Returns the answer to `Get`."""
    last = detail.last_error
    return pb.GetResponse(
        connection=translate.connection_message(detail.view),
        statistics=_live_message(detail.live),
        transitions=map(_transition_message, detail.transitions),
        last_error=None if last is None else _transition_message(last),
    )


def updated_message(view: ConnectionView) -> pb.UpdateResponse:
    """Returns the answer to `Update`."""
    return pb.UpdateResponse(connection=translate.connection_message(view))


def notice_message(notice: LifecycleNotice) -> pb.WatchResponse:
    """Returns one lifecycle event as `Watch` sends it."""
    return pb.WatchResponse(
        connection_id=notice.connection_id,
        id=notice.id,
        type=notice.type,
        state=notice.state,
        event=notice.number,
        time=timestamp(notice.at),
        data=notice.data.decode(),
        missed=notice.missed,
    )


def tailed_message(seen: TailedMessage) -> pb.TailResponse:
    """Returns one message as `Tail` sends it."""
    return pb.TailResponse(
        id=seen.id,
        data=seen.data,
        content_type=seen.kind.value,
        time=timestamp(seen.at),
        session=seen.session,
        sequence=seen.sequence,
        owner_epoch=seen.owner_epoch,
        size=seen.size,
        topic=seen.topic or "",
        skipped=seen.skipped,
    )


def _subscriptions(
    message: pb.SubscriptionsChange, compile_regex: CompileRegex | None
) -> tuple[SubscriptionsChange, list[Fault]]:
    whole: tuple[Subscription, ...] | None = None
    faults: list[Fault] = []
    if message.HasField("set"):
        path = "subscriptions.set"
        whole, found = _read(message.set.subscriptions, path, compile_regex)
        faults += found
        if message.add or message.remove:
            faults.append(Fault(path, "must not be given with add or remove"))
    elif not (message.add or message.remove):
        faults.append(Fault("subscriptions", "must set, add or remove some"))
    path = "subscriptions.add"
    add, found = _read(message.add, path, compile_regex)
    within = f"{path}.subscriptions"
    faults += [
        Fault(path + one.path.removeprefix(within), one.problem)
        if one.path.startswith(within)
        else one
        for one in found
    ]
    remove = message.remove[:MAX_SUBSCRIPTIONS]
    if len(message.remove) > MAX_SUBSCRIPTIONS:
        problem = f"must be at most {MAX_SUBSCRIPTIONS}, not {len(message.remove)}"
        faults.append(Fault("subscriptions.remove", problem))
    added = {one.key for one in add}
    for index, key in enumerate(remove):
        at = f"subscriptions.remove[{index}]"
        faults += judge.line_faults(key, at, MAX_SUBSCRIPTION_KEY_LENGTH)
        if key in added:
            faults.append(Fault(at, "must not be added, too"))
    return SubscriptionsChange(whole, add, tuple(remove)), faults


def _read(
    messages: Iterable[pb.Subscription], path: str, compile_regex: CompileRegex | None
) -> tuple[tuple[Subscription, ...], list[Fault]]:
    options, faults = connection_options(pb.ConnectionOptions(subscriptions=messages), path)
    faults += option_faults(options, compile_regex=compile_regex, path=path)
    return options.subscriptions, faults


def _live_message(live: LiveStatistics) -> pb.LiveStatistics:
    return pb.LiveStatistics(
        messages_per_second_10s=live.messages_per_second_10s,
        messages_per_second_60s=live.messages_per_second_60s,
        bytes_per_second_10s=live.bytes_per_second_10s,
        bytes_per_second_60s=live.bytes_per_second_60s,
        data_age_ms=None if live.data_age_seconds is None else round(live.data_age_seconds * 1000),
        queue_depth=live.queue_depth,
        publish_lag_ms=round(live.publish_lag_seconds * 1000),
        reconnects=live.reconnects,
        sessions=live.sessions,
    )


def _transition_message(one: Transition) -> pb.Transition:
    return pb.Transition(
        event=one.number,
        time=timestamp(one.at),
        state=one.state,
        session=one.session,
        attempt=one.attempt,
        delay_ms=one.delay_ms,
        error_type=one.error_type,
        message=one.message,
        close_code=one.close_code,
        close_reason=one.close_reason,
        restored=one.restored,
    )


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        raise InvalidArgument(*faults)
