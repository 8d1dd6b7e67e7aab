"""Subscriptions as a person writes them: JSON on the command line, JSON or YAML in a file. Pure."""

from __future__ import annotations

import yaml
from google.protobuf import json_format

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb


def subscription(text: str) -> pb.Subscription:
    """Returns one subscription, `{"key": …, "subscribe": {"text": …}}`.

    Raises:
        ValueError: it is none; the text says why.
    """
    return _parsed(_loaded(text))


def subscriptions(text: str) -> list[pb.Subscription]:
    """Returns the subscriptions of a list. Raises ValueError as `subscription`."""
    several = _loaded(text)
    if not isinstance(several, list):
        raise ValueError("a list of subscriptions is expected")  # noqa: TRY004 - what a text holds
    return [_parsed(one) for one in several]


def _loaded(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _parsed(value: object) -> pb.Subscription:
    if not isinstance(value, dict):
        raise ValueError("a subscription has key and subscribe")  # noqa: TRY004 - as above
    try:
        return json_format.ParseDict(value, pb.Subscription())
    except json_format.ParseError as error:
        raise ValueError(" ".join(str(error).split())) from None
