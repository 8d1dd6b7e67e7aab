"""Equal choices become one object, and different ones, whatever their difference, never do."""

from __future__ import annotations

import gc
from dataclasses import fields, replace
from weakref import ref

from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.model import BufferOptions, ConnectionOptions, ReconnectOptions
from websocketmanager.domain.options import HandshakeOptions, Liveness, TlsOptions
from websocketmanager.domain.sharing import shared, shared_options


class Word(str):
    __slots__ = ("__weakref__",)


class OtherWord(Word):
    __slots__ = ()


def some(read_idle_ms: int = 5, server_name: str = "x") -> ConnectionOptions:
    return ConnectionOptions(
        buffer=BufferOptions(max_messages=7),
        handshake=HandshakeOptions(tls=TlsOptions(server_name=server_name)),
        liveness=Liveness(read_idle_ms=read_idle_ms),
    )


def test_equal_options_are_one_object() -> None:
    assert some() is not some()
    assert shared_options(some()) is shared_options(some())
    assert shared_options(some()) == some()


def test_options_that_differ_share_the_groups_that_do_not() -> None:
    one, other = shared_options(some(5)), shared_options(some(6))
    assert one != other
    assert one.liveness != other.liveness
    same = {field.name for field in fields(ConnectionOptions)} - {"liveness"}
    assert all(getattr(one, name) is getattr(other, name) for name in same)
    third = shared_options(some(server_name="y"))
    assert third.handshake.tls.server_name == "y"
    assert third.reconnect is one.reconnect


@given(st.lists(st.builds(ReconnectOptions, max_attempts=st.integers(0, 3)), max_size=9))
def test_what_is_shared_is_equal(values: list[ReconnectOptions]) -> None:
    for value in values:
        found = shared(value)
        assert found == value
        assert found is shared(replace(value))


def test_equal_values_of_different_kinds_stay_apart() -> None:
    word, other = Word("x"), OtherWord("x")
    assert word == other
    assert shared(word) is word
    assert shared(other) is other
    assert type(shared(Word("x"))) is Word


def test_nothing_is_kept_by_being_shared() -> None:
    first = shared_options(some(99))
    options, group = ref(first), ref(first.liveness)
    again = shared_options(some(99))
    del first
    gc.collect()
    assert options() is again
    assert group() is again.liveness
    del again
    gc.collect()
    assert options() is None
    assert group() is None
