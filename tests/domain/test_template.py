"""Templates: the grammar, its faults, and that no text breaks the parser."""

from __future__ import annotations

import os
import random
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.template import (
    MAX_DEPTH,
    MAX_NODES,
    MAX_SECRET_NAME_LENGTH,
    MAX_TEMPLATE_LENGTH,
    EvaluationContext,
    EvaluationFailed,
    Template,
    TemplateFault,
    parse,
)

FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "2"))
CONTEXT = EvaluationContext(1_719_234_567.89, "00ff", "u-u-i-d", {"A": "1", "B": "MQ=="})
#: What templates are made of, and near misses.
PIECES = [
    "${", "$${", "$$${", "}", "{", "$", "'", "''", "'x'", "(", ")", ",", " ", "\n", "+1", "-", ":",
    "secret:A", "secret:B", "secret:", "secret", "time.s", "time.ms+5", "time.us-7", "time.iso",
    "time", "nonce", "uuid", "hex(", "base64(", "json(", "url(", "unbase64(secret:B)", "unbase64(",
    "hmac.sha256(", "hmac.sha384('k',", "hmac.sha512(", "hmac.md5(", "__class__", "é", "\0",
    "${hex('a')}", "${base64(hmac.sha256(secret:A,time.s))}",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain {json} $ $1 $", "plain {json} $ $1 $"),
        ("$${secret:A}", "${secret:A}"),
        ("$$${secret:A}", "$1"),
        ("$$$${secret:A}", "$${secret:A}"),
        ("$$ {$$", "$$ {$$"),
        ("}${'a'}{", "}a{"),
        ("${ hex( 'a' ,\n'b' ) }", "6162"),
        ("${'}${'}", "}${"),
        ("${'$${'}", "$${"),
        ("${''''}", "'"),
        ("${secret:A}.${secret:A}", "1.1"),
    ],
)
def test_text(text: str, expected: str) -> None:
    assert parse(text).evaluate(CONTEXT) == expected


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("${", 3, "a string in single quotes or one of: secret:NAME, time.s"),
        ("ab ${}", 6, "one of"),
        ("${password}", 3, "one of"),
        ("${time}", 3, "one of"),
        ("${time.min}", 3, "one of"),
        ("${hmac.md5(secret:A,'x')}", 3, "one of"),
        ("${().__class__}", 3, "one of"),
        ("${Nonce}", 3, "one of"),
        ("${nonce", 8, "ends with }"),
        ("${nonce.x}", 3, "one of"),
        ("${nonce x}", 9, "ends with }"),
        ("${time.s+}", 9, "ends with }"),
        ("${time.s+1234567890123456}", 9, "ends with }"),
        ("${time.s +1}", 10, "ends with }"),
        ("${time.iso+1}", 11, "ends with }"),
        ("${secret}", 9, "colon"),
        ("${secret :A}", 9, "colon"),
        ("${secret:}", 10, "1 to 128"),
        ("${secret: A}", 10, "1 to 128"),
        ("${secret:é}", 10, "1 to 128"),
        ("${secret:" + "a" * 129 + "}", 10, "1 to 128"),
        ("${secret:a/b}", 11, "ends with }"),
        ("${'a}", 3, "no closing quote"),
        ("${'a''}", 3, "no closing quote"),
        ("${hex}", 6, "followed by"),
        ("${hex()}", 7, "one of"),
        ("${hex('a',)}", 11, "one of"),
        ("${hex('a' 'b')}", 11, "separated by commas"),
        ("${hex('a'}", 10, "separated by commas"),
        ("${hmac.sha256(secret:A)}", 3, "a key and"),
        ("x${hmac.sha256(secret:A,'x')}", 4, "makes bytes"),
        ("${unbase64(secret:A)}", 3, "makes bytes"),
        ("${hex(unbase64('a'))}", 7, "takes one secret"),
        ("${hex(unbase64(secret:A,secret:A))}", 7, "takes one secret"),
        ("${hex(unbase64(unbase64(secret:A)))}", 7, "takes one secret"),
        ("${json('a',hmac.sha256('k','m'))}", 12, "json takes no bytes"),
        ("${json(unbase64(secret:A))}", 8, "json takes no bytes"),
        ("ab\ud800", 3, "surrogate"),
        ("a" * (MAX_TEMPLATE_LENGTH + 1), MAX_TEMPLATE_LENGTH + 1, "65536 characters"),
    ],
)
def test_faults(text: str, position: int, words: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        parse(text)
    fault = caught.value
    assert fault.position == position
    assert words in fault.problem
    assert str(fault) == f"at character {position}: {fault.problem}"


@pytest.mark.parametrize(
    "text", ["${hunter2}", "${secret:A hunter2}", "${hunter2", "${hex('a' hunter2", "${'hunter2"]
)
def test_a_fault_repeats_nothing(text: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        parse(text)
    assert "hunter2" not in str(caught.value)


def test_bounds_are_inclusive() -> None:
    assert parse("a" * MAX_TEMPLATE_LENGTH).is_constant
    name = "a" * MAX_SECRET_NAME_LENGTH
    assert parse(f"${{secret:{name}}}").secrets == {name}
    deepest = "hex(" * MAX_DEPTH + "'a'" + ")" * MAX_DEPTH
    assert parse("${" + deepest + "}").evaluate(CONTEXT)
    with pytest.raises(TemplateFault, match="deep"):
        parse("${hex(" + deepest + ")}")
    assert parse("${nonce}" * MAX_NODES).evaluate(CONTEXT) == "00ff" * MAX_NODES
    with pytest.raises(TemplateFault, match=f"{MAX_NODES} values"):
        parse("${nonce}" * (MAX_NODES + 1))


@pytest.mark.parametrize(
    ("text", "secrets", "is_constant"),
    [
        ("", set(), True),
        ("a{}$${nonce}", set(), True),
        ("${hex('a')}", set(), True),
        ("${'secret:A'}", set(), True),
        ("${nonce}", set(), False),
        ("${hex(uuid)}", set(), False),
        ("${time.iso}", set(), False),
        ("${secret:A}", {"A"}, False),
        ("${secret:A}${hex(hmac.sha256(unbase64(secret:B), json(secret:c)))}", set("ABc"), False),
    ],
)  # fmt: skip
def test_what_a_template_says_of_itself(text: str, secrets: set[str], is_constant: bool) -> None:
    template = parse(text)
    assert template.secrets == secrets
    assert template.is_constant is is_constant


def test_repr_names_secrets_and_shows_no_text() -> None:
    assert repr(parse("hunter2 ${secret:B}${secret:A}")) == "<Template pieces=3 secrets=A, B>"
    assert repr(parse("hunter2")) == "<Template pieces=1 secrets=none>"


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("${}'")))
def test_every_text_can_be_written(text: str) -> None:
    assert parse("${'" + text.replace("'", "''") + "'}").evaluate(CONTEXT) == text
    # Otherwise only dollars before a brace are doubled.
    escaped = re.sub(r"\$+(?=\{)", lambda dollars: dollars[0] * 2, text)
    assert parse(escaped).evaluate(CONTEXT) == text


def parsed(text: str) -> Template | TemplateFault:
    try:
        return parse(text)
    except TemplateFault as fault:
        return fault


def survives(text: str) -> bool:
    """Parses and evaluates; anything but a documented error leaves. Says whether it has a value."""
    template = parsed(text)
    if isinstance(template, TemplateFault):
        assert 1 <= template.position <= len(text) + 1
        return False
    try:
        value = template.evaluate(CONTEXT)
    except EvaluationFailed:
        return False
    value.encode()
    if template.is_constant:
        assert value == template.evaluate(EvaluationContext(0, "n", "v"))
    return True


@given(st.text(st.characters(codec=None)))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    survives(text)


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_sequence_of_pieces_is_parsed_or_refused(text: str) -> None:
    survives(text)


def nested(dice: random.Random, depth: int) -> str:
    """A random expression, most of them good."""
    if depth == 0 or dice.random() < 0.3:
        return dice.choice(
            ["secret:A", "time.ms+5", "nonce", "uuid", "time.iso", "'x'", "''", "'}'"]
        )
    function = dice.choice(["hex", "base64", "json", "url", "hmac.sha256", "hmac.sha512"])
    return (
        f"{function}({', '.join(nested(dice, depth - 1) for _ in range(dice.choice((1, 2, 3))))})"
    )


@pytest.mark.timeout(FUZZ_SECONDS + 60)
def test_fuzzed_texts_are_parsed_or_refused() -> None:
    """Random bytes, pieces, and damage to good templates. FUZZ_SECONDS=60 looks longer."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    end = time.monotonic() + FUZZ_SECONDS
    runs = good = 0
    while time.monotonic() < end:
        match runs % 4:
            case 0:
                text = dice.randbytes(dice.randrange(64)).decode("utf-8", "surrogateescape")
            case 1:
                text = "".join(dice.choices(PIECES, k=dice.randrange(40)))
            case 2:
                text = "".join(f"a${{{nested(dice, 4)}}}" for _ in range(dice.randrange(3)))
            case _:
                text = f"{{${{{nested(dice, 9)}}}}}"
                place = dice.randrange(len(text))
                text = (
                    text[:place] + dice.choice([*PIECES, ""]) + text[place + dice.choice((0, 1)) :]
                )
        text *= dice.choice((1,) * 20 + (2000,))
        try:
            good += survives(text)
        except Exception as error:
            error.add_note(f"seed {seed}, run {runs}: {text[:500]!a}")
            raise
        runs += 1
    assert good > runs / 20


@pytest.mark.parametrize(
    "unit", ["$", "{", "${", "$${", "'", "''", "${'", "${hex(", "${hex('a'),", "(", "}", "${nonce}"]
)
def test_parsing_is_linear(unit: str) -> None:
    text = (unit * MAX_TEMPLATE_LENGTH)[:MAX_TEMPLATE_LENGTH]
    start = time.process_time()
    survives(text)
    survives("${'" + text[:-10])
    assert time.process_time() - start < 0.5
