"""Subscriptions as a person writes them."""

from __future__ import annotations

import pytest

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.terminal.subscriptions import subscription, subscriptions

A = pb.Subscription(key="a", subscribe=pb.Payload(text='{"op":"sub"}'))


def test_json_and_yaml_say_the_same() -> None:
    assert subscription('{"key": "a", "subscribe": {"text": "{\\"op\\":\\"sub\\"}"}}') == A
    in_yaml = """
    - key: a
      subscribe: {text: '{"op":"sub"}'}
    - key: a
      subscribe:
        text: '{"op":"sub"}'
    """
    assert subscriptions(in_yaml) == [A, A]
    assert subscriptions("[]") == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "key and subscribe"),
        ("[]", "key and subscribe"),
        ("{", "expected"),
        ('{"kee": "a"}', "kee"),
        ('{"key": 1}', "key"),
        ('{"key": "a", "subscribe": "x"}', "subscribe"),
    ],
)
def test_what_is_none_says_why_on_one_line(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        subscription(text)
    assert "\n" not in str(refused.value)


def test_a_list_is_a_list() -> None:
    with pytest.raises(ValueError, match="list"):
        subscriptions('{"key": "a"}')
