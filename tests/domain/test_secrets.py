"""Which secrets a connection needs; values that do not show themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote, quote_plus

from hypothesis import given
from hypothesis import strategies as st

from tests.kit.alive import holders
from tests.kit.options import fullest
from websocketmanager.domain.model import ConnectionSpec
from websocketmanager.domain.options import HandshakeOptions, Header
from websocketmanager.domain.secrets import SecretValues, secret_names

SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    quote,
    quote_plus,
    lambda value: quote(value, safe=""),
    lambda value: quote(value, safe="").lower() if value.islower() else quote(value),
    lambda value: json.dumps(value)[1:-1],
    lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    lambda value: json.dumps(value)[1:-1].replace("/", "\\/"),
)


def test_names_in_every_place() -> None:
    spec = ConnectionSpec(
        "wss://u:${secret:USER}@h/?t=${url(secret:QUERY)}",
        tags={"t": "${secret:TAG}"},
        name="${secret:NAME}",
        options=fullest(),
    )
    assert secret_names(spec) == {
        *("USER", "QUERY", "HEADER", "PROXY", "CA", "CERTIFICATE", "KEY"),
        *("SIGNING", "ON", "OFF", "BEAT"),
    }


def test_no_names() -> None:
    assert secret_names(ConnectionSpec("wss://h/{secret:A}")) == frozenset()
    broken = HandshakeOptions(headers=(Header("X", "${secret:A} ${"),))
    spec = ConnectionSpec("wss://h", options=replace(fullest(), handshake=broken))
    assert secret_names(spec) == {"SIGNING", "ON", "OFF", "BEAT"}


def test_values_are_a_mapping_that_shows_names_only() -> None:
    values = SecretValues({"B": "hunter2", "A": "swordfish"})
    assert (values["A"], len(values), list(values)) == ("swordfish", 2, ["B", "A"])
    assert dict(values) == {"A": "swordfish", "B": "hunter2"}
    for shown in (repr(values), str(values), f"{values}", repr((values,))):
        assert shown.strip("(),") == "<SecretValues A, B>"
    assert repr(SecretValues({})) == "<SecretValues none>"


def test_scrubbing() -> None:
    values = SecretValues({"A": "hunter2", "B": "hunter2-and-more", "C": "abc", "D": ""})
    said = "no hunter2-and-more, no hunter2, abc"
    assert values.scrubbed(said) == "no ***, no ***, abc"


@given(st.text("abé", min_size=4, max_size=8), st.text("abé "), st.text("abé "))
def test_nothing_of_a_value_is_left(value: str, before: str, after: str) -> None:
    assert value not in SecretValues({"A": value}).scrubbed(before + value + after)


@given(st.text(min_size=4, max_size=12), st.sampled_from(SPELLINGS))
def test_nothing_of_a_value_is_left_however_it_is_spelled(
    value: str, spell: Callable[[str], str]
) -> None:
    said = f"no {spell(value)}!"
    assert SecretValues({"A": value}).scrubbed(said) in {"no ***!", said.replace(value, "***")}


def test_what_was_looked_for_is_not_remembered() -> None:
    assert SecretValues({"A": chr(0x0192) * 4}).scrubbed("100% no") == "100% no"
    assert holders(R"\U0192".lower()) == []


def test_spellings() -> None:
    value = 'a/b "\u00e9\u20ac\U0001f600+\\n\n%41'
    values = SecretValues({"A": value})
    for spell in SPELLINGS:
        said = spell(value)
        assert values.scrubbed(f"<{said}>") == "<***>", said
    assert values.scrubbed("a/b") == "a/b"


def test_no_text_makes_scrubbing_slow() -> None:
    for value in ("a" * 400 + "b", "\\" * 400 + "b", "%25" * 100 + "b", "/ " * 200 + "b"):
        said = value[:-1] * 20
        assert SecretValues({"A": value}).scrubbed(said) == said
