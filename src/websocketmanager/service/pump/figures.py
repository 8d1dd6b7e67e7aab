"""What can be seen of one connection's buffer: what it counted, and how it goes now."""

from __future__ import annotations

from websocketmanager.domain.envelope import event_time
from websocketmanager.domain.model import LiveStatistics, Statistics
from websocketmanager.service.lane import Lane
from websocketmanager.service.meter import Meter
from websocketmanager.service.pump.buffer import Buffer
from websocketmanager.service.spool import Spool


def statistics_of(meter: Meter, buffer: Buffer, spool: Spool | None) -> Statistics:
    """Returns the counts of this process; sending and reconnects are not known here."""
    return Statistics(
        messages_received=meter.received,
        bytes_received=meter.received_bytes,
        messages_published=meter.published,
        buffered_messages=buffer.feed.load + (spool.unstored if spool else 0),
        buffered_bytes=buffer.size + (spool.unstored_bytes if spool else 0),
        spilled_messages=spool.spilled if spool else 0,
        spilled_bytes=spool.spilled_bytes if spool else 0,
        unrouted=meter.unrouted,
        dropped=meter.dropped,
        last_message_at=meter.last_message_at,
    )


def live_statistics_of(meter: Meter, buffer: Buffer, lane: Lane, now: float) -> LiveStatistics:
    """Returns how it goes now; reconnects and sessions are not known here.

    Args:
        meter: of the connection.
        buffer: of the connection.
        lane: that has what is in flight.
        now: Unix seconds.
    """
    meter.look(now)
    last, oldest = meter.last_message_at, lane.oldest(buffer.feed)
    messages, size = meter.messages_per_second, meter.bytes_per_second
    return LiveStatistics(
        messages_per_second_10s=messages[0],
        messages_per_second_60s=messages[1],
        bytes_per_second_10s=size[0],
        bytes_per_second_60s=size[1],
        data_age_seconds=None if last is None else max(now - last, 0.0),
        queue_depth=buffer.feed.load,
        publish_lag_seconds=0.0 if oldest is None else max(now - event_time(oldest), 0.0),
    )
