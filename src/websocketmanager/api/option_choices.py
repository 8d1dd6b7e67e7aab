"""The choices that options offer: the numbers of our enums and what they mean, in both directions.

May import the domain and our generated messages.
"""

from __future__ import annotations

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import FirstDial, Format
from websocketmanager.domain.options import Compression, Match, Overflow, Overlap
from websocketmanager.domain.retry import Advice

# In each table the unspecified number comes first, so that its inverse names the choice.
FORMATS: dict[pb.Format, Format] = {
    pb.FORMAT_UNSPECIFIED: Format.RAW,
    pb.FORMAT_RAW: Format.RAW,
    pb.FORMAT_ENVELOPE: Format.ENVELOPE,
}
FIRST_DIALS: dict[pb.FirstDial, FirstDial] = {
    pb.FIRST_DIAL_UNSPECIFIED: FirstDial.FAIL,
    pb.FIRST_DIAL_FAIL: FirstDial.FAIL,
    pb.FIRST_DIAL_RETRY: FirstDial.RETRY,
}
COMPRESSIONS: dict[pb.Compression, Compression] = {
    pb.COMPRESSION_UNSPECIFIED: Compression.NONE,
    pb.COMPRESSION_NONE: Compression.NONE,
    pb.COMPRESSION_DEFLATE: Compression.DEFLATE,
}
MATCHES: dict[pb.Match, Match] = {
    pb.MATCH_ANY: Match.ANY,
    pb.MATCH_POINTER: Match.POINTER,
    pb.MATCH_REGEX: Match.REGEX,
}
FRAMES: dict[pb.Frame, Kind | None] = {
    pb.FRAME_UNSPECIFIED: None,
    pb.FRAME_TEXT: Kind.TEXT,
    pb.FRAME_BINARY: Kind.BINARY,
}
ADVICES: dict[pb.Advice, Advice] = {
    pb.ADVICE_UNSPECIFIED: Advice.LATER,
    pb.ADVICE_AGAIN: Advice.AGAIN,
    pb.ADVICE_LATER: Advice.LATER,
    pb.ADVICE_NEVER: Advice.NEVER,
}
OVERFLOWS: dict[pb.Overflow, Overflow] = {
    pb.OVERFLOW_UNSPECIFIED: Overflow.BLOCK,
    pb.OVERFLOW_BLOCK: Overflow.BLOCK,
    pb.OVERFLOW_DROP_OLDEST: Overflow.DROP_OLDEST,
    pb.OVERFLOW_DROP_NEWEST: Overflow.DROP_NEWEST,
    pb.OVERFLOW_CONFLATE: Overflow.CONFLATE,
    pb.OVERFLOW_CLOSE: Overflow.CLOSE,
    pb.OVERFLOW_SPILL: Overflow.SPILL,
}
OVERLAPS: dict[pb.Overlap, Overlap] = {
    pb.OVERLAP_UNSPECIFIED: Overlap.CUT,
    pb.OVERLAP_CUT: Overlap.CUT,
    pb.OVERLAP_POINTER: Overlap.POINTER,
    pb.OVERLAP_CONTENT: Overlap.CONTENT,
}
WEEKDAYS: dict[pb.Weekday, int] = {
    pb.WEEKDAY_MONDAY: 0,
    pb.WEEKDAY_TUESDAY: 1,
    pb.WEEKDAY_WEDNESDAY: 2,
    pb.WEEKDAY_THURSDAY: 3,
    pb.WEEKDAY_FRIDAY: 4,
    pb.WEEKDAY_SATURDAY: 5,
    pb.WEEKDAY_SUNDAY: 6,
}
