"""Parses templates: texts with `${…}` expressions. Pure, total, no code; stdlib only.

    template   = *( "$${" / "${" expression "}" / character )
    expression = *SP ( value / string / call ) *SP
    value      = secret / "nonce" / "uuid" / "time.iso" / clock
    secret     = "secret:" 1*128( ALPHA / DIGIT / "_" / "." / "-" )
    clock      = ( "time.s" / "time.ms" / "time.us" ) [ ( "+" / "-" ) 1*15DIGIT ]
    string     = "'" *( "''" / character ) "'"
    call       = text-call / bytes-call
    text-call  = ( "hex" / "base64" / "json" / "url" ) "(" arguments ")"
    bytes-call = "hmac.sha256(" expression "," arguments ")" / "unbase64(" *SP secret *SP ")"
                 ; also hmac.sha384 and hmac.sha512; the first argument is the key
    arguments  = expression *( "," expression )

For example, the login of an exchange that wants a signature over the time it is sent with:

    {"op": "login", "key": "${json(secret:KEY)}", "timestamp": "${time.s}",
     "sign": "${base64(hmac.sha256(secret:SIGNING_KEY, time.s, 'GET/users/self/verify'))}"}

`$${` is a literal `${`; before a `{`, `$$` always stands for one `$`. Within a string, `''` is one
quote and every other character itself, also a line break.

`time.iso` is RFC 3339 in UTC with milliseconds; `time.s+60` lies a minute ahead. All expressions
of one evaluation see one time, one nonce and one UUID, also those below a signature. Arguments
are joined without a separator. An HMAC and `unbase64` (for keys that are handed out in base64)
make bytes, which only `hmac`, `hex`, `base64` and `url` take. Secrets are put in raw: inside a
JSON string `json(…)` escapes them (it adds no quotes), in a URL `url(…)` does (RFC 3986 §2.1).

No sentence of a fault repeats a part of the template, which may hold a password in plain text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from websocketmanager.domain.template_evaluation import (
    FUNCTIONS,
    Call,
    ClockReading,
    EvaluationContext,
    EvaluationFailed,
    MissingSecret,
    Node,
    Own,
    ResultTooLarge,
    Secret,
    UnusableSecret,
    evaluated,
)

__all__ = [
    "EvaluationContext",
    "EvaluationFailed",
    "MissingSecret",
    "ResultTooLarge",
    "Template",
    "TemplateFault",
    "UnusableSecret",
    "parse",
]

#: Characters of a template.
MAX_TEMPLATE_LENGTH: Final = 65_536
#: Values, strings and calls in one template.
MAX_NODES: Final = 256
#: Calls within calls.
MAX_DEPTH: Final = 8
#: Characters of a secret's name.
MAX_SECRET_NAME_LENGTH: Final = 128

_UNIT_MICROSECONDS: Final = {"time.s": 1_000_000, "time.ms": 1_000, "time.us": 1}
_OWN: Final = {own.value: own for own in Own}
_UNBASE64: Final = "unbase64"
_KNOWN: Final = ", ".join(("secret:NAME", *_UNIT_MICROSECONDS, *_OWN, *FUNCTIONS, _UNBASE64))

_WORD: Final = re.compile(r"[a-z0-9.]+")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_OFFSET: Final = re.compile(r"[+-][0-9]{1,15}(?![0-9])")
_SPACES: Final = re.compile(r"[ \t\r\n]*")


class TemplateFault(ValueError):
    """The text is no template; `position` counts characters from 1."""

    def __init__(self, *, position: int, problem: str) -> None:
        self.position = position
        self.problem = problem
        super().__init__(f"at character {position}: {problem}")


@dataclass(frozen=True, slots=True, repr=False)
class Template:
    """A parsed template.

    Attributes:
        secrets: the names of the secrets that it needs.
        is_constant: whether every evaluation gives the same text.
    """

    secrets: frozenset[str]
    is_constant: bool
    _pieces: tuple[Node, ...]

    def __repr__(self) -> str:
        names = ", ".join(sorted(self.secrets)) or "none"
        return f"<Template pieces={len(self._pieces)} secrets={names}>"

    def evaluate(self, context: EvaluationContext) -> str:
        """Returns the text.

        Raises:
            MissingSecret: the context lacks a secret.
            UnusableSecret: a secret is no Unicode text, or no base64 where it must be.
            ResultTooLarge: the value exceeds `template_evaluation.MAX_RESULT_BYTES`.
        """
        match self._pieces:
            case ():
                return ""
            case (str(text),):
                return text
        return evaluated(self._pieces, context)


def parse(text: str) -> Template:
    """Parses any text.

    Raises:
        TemplateFault: it is no template.
    """
    return _Parser(text).template()


class _Parser:
    """Reads a text from left to right, once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._nodes = 0
        self._secrets: set[str] = set()
        self._is_constant = True

    def template(self) -> Template:
        text = self._text
        if len(text) > MAX_TEMPLATE_LENGTH:
            problem = f"a template has at most {MAX_TEMPLATE_LENGTH} characters"
            raise self._fault(problem, MAX_TEMPLATE_LENGTH)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            # Not chained: the cause holds the text.
            raise self._fault("a lone surrogate is no Unicode text", error.start) from None
        pieces: list[Node] = []
        plain: list[str] = []
        while (brace := text.find("{", self._at)) >= 0:
            before = text[self._at : brace]
            stripped = before.rstrip("$")
            dollars = len(before) - len(stripped)
            plain += (stripped, "$" * (dollars // 2))
            self._at = brace + 1
            node = self._whole_expression() if dollars % 2 else "{"
            if isinstance(node, str):
                plain.append(node)
            else:
                pieces += (*_merged(plain), node)
                plain.clear()
        plain.append(text[self._at :])
        pieces += _merged(plain)
        return Template(frozenset(self._secrets), self._is_constant, tuple(pieces))

    def _whole_expression(self) -> Node:
        start = self._at
        node = self._expression(0)
        if _makes_bytes(node):
            raise self._fault("this makes bytes: put hex(…) or base64(…) around it", start)
        self._expect("}", "here the expression ends with }")
        return node

    def _expression(self, depth: int) -> Node:
        self._take(_SPACES)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._fault(f"a template has at most {MAX_NODES} values, strings and calls")
        if depth > MAX_DEPTH:
            raise self._fault(f"calls are at most {MAX_DEPTH} deep")
        node = self._string() if self._peek() == "'" else self._named(depth)
        self._take(_SPACES)
        return node

    def _named(self, depth: int) -> Node:
        start = self._at
        word = self._take(_WORD)
        if word in FUNCTIONS or word == _UNBASE64:
            return self._call(word, depth, start)
        self._is_constant = False
        if word == "secret":
            return self._secret()
        if word in _UNIT_MICROSECONDS:
            return ClockReading(_UNIT_MICROSECONDS[word], int(self._take(_OFFSET) or "0"))
        if word in _OWN:
            return _OWN[word]
        raise self._fault(f"here stands a string in single quotes or one of: {_KNOWN}", start)

    def _secret(self) -> Secret:
        self._expect(":", "secret is followed by a colon and a name")
        start = self._at
        name = self._take(_NAME)
        if not 1 <= len(name) <= MAX_SECRET_NAME_LENGTH:
            most = MAX_SECRET_NAME_LENGTH
            raise self._fault(f"a secret's name is 1 to {most} letters, digits, _ . or -", start)
        self._secrets.add(name)
        return Secret(name)

    def _string(self) -> str:
        start = self._at
        parts: list[str] = []
        while True:
            # Each turn begins at a quote: the first one, or the second of a doubled one.
            end = self._text.find("'", self._at + 1)
            if end < 0:
                raise self._fault("the string that begins here has no closing quote", start)
            parts.append(self._text[self._at + 1 : end])
            self._at = end + 1
            if self._peek() != "'":
                return "'".join(parts)

    def _call(self, function: str, depth: int, start: int) -> Node:
        self._expect("(", "a function is followed by (")
        positions = [self._at]
        arguments = [self._expression(depth + 1)]
        while self._peek() == ",":
            self._at += 1
            positions.append(self._at)
            arguments.append(self._expression(depth + 1))
        self._expect(")", "here arguments are separated by commas and end with )")
        if function == _UNBASE64:
            match arguments:
                case [Secret(name=name, is_base64=False)]:
                    return Secret(name, is_base64=True)
            raise self._fault(f"{function} takes one secret:NAME", start)
        if function.startswith("hmac.") and len(arguments) == 1:
            raise self._fault(f"{function} takes a key and at least one part of a message", start)
        if function == "json":
            for position, argument in zip(positions, arguments, strict=True):
                if _makes_bytes(argument):
                    problem = "json takes no bytes: put hex(…) or base64(…) around them"
                    raise self._fault(problem, position)
        return Call(function, tuple(arguments))

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]

    def _expect(self, character: str, problem: str) -> None:
        if self._peek() != character:
            raise self._fault(problem)
        self._at += 1

    def _fault(self, problem: str, index: int | None = None) -> TemplateFault:
        position = (self._at if index is None else index) + 1
        return TemplateFault(position=position, problem=problem)


def _makes_bytes(node: Node) -> bool:
    return isinstance(node, Call | Secret) and node.makes_bytes


def _merged(plain: Sequence[str]) -> tuple[str, ...]:
    text = "".join(plain)
    return (text,) if text else ()
