"""Judges what options are made of: payloads, templates, patterns, pointers, numbers. Pure.

Templates are parsed, and evaluated once with sample values, so that what stands around a secret
is judged now and only the secret itself at the dial. Patterns are compiled. No sentence repeats
what may be a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from websocketmanager.domain import limits, template
from websocketmanager.domain.json_pointer import PointerFault, parse_pointer
from websocketmanager.domain.options import Match, Pattern, Payload
from websocketmanager.domain.pattern import (
    ByteSearch,
    CompileRegex,
    PatternFault,
    compile_pattern,
)
from websocketmanager.domain.template import EvaluationFailed, TemplateFault
from websocketmanager.domain.url_template import sample_context
from websocketmanager.errors import Fault

MAX_PAYLOAD_BYTES: Final = 65_536
#: Different ones of one connection: each costs milliseconds to compile and memory to search with.
MAX_REGEXES: Final = 64


class OptionJudge:
    """Collects the faults of one request.

    Args:
        compile_regex: None where there are no regular expressions: each is a fault.

    Attributes:
        faults: found so far.
        regexes: the different expressions seen so far.
    """

    def __init__(self, compile_regex: CompileRegex | None) -> None:
        self.faults: list[Fault] = []
        self._compile_regex = compile_regex or _no_regex
        self._compiled_regexes: dict[str, ByteSearch] = {}
        self._regex_problems: dict[str, str] = {}
        self.regexes: set[str] = set()

    def fault(self, path: str, problem: str) -> None:
        """Takes note of a fault."""
        self.faults.append(Fault(path, problem))

    def number(self, value: int, path: str, least: int, most: int) -> None:
        """Judges a number whose zero means the default."""
        if value:
            self.faults += limits.range_faults(value, path, least, most)

    def count(self, several: Sequence[object], most: int, path: str) -> None:
        """Judges the length of a list."""
        if len(several) > most:
            self.fault(path, f"must be at most {most}, not {len(several)}")

    def payload(self, payload: Payload, path: str) -> None:
        """Judges a message to send."""
        if bool(payload.text) == bool(payload.binary):
            self.fault(path, "must have one of text and binary, and it must not be empty")
        elif len(payload.binary) > MAX_PAYLOAD_BYTES:
            size = len(payload.binary)
            self.fault(f"{path}.binary", f"must have at most {MAX_PAYLOAD_BYTES} bytes, not {size}")
        self.evaluated(payload.text, f"{path}.text")

    def evaluated(self, text: str, path: str) -> str:
        """Judges a template and returns it with sample values; empty when it has faults."""
        try:
            parsed = template.parse(text)
            return parsed.evaluate(sample_context(parsed))
        except (TemplateFault, EvaluationFailed) as error:
            self.fault(path, str(error))
            return ""

    def pointer(self, pointer: str, path: str) -> None:
        """Judges a JSON pointer; the empty one is one."""
        try:
            parse_pointer(pointer)
        except PointerFault as error:
            self.fault(path, str(error))

    def pattern(self, pattern: Pattern, path: str) -> None:
        """Judges a pattern whose matches may be anything."""
        if pattern.regex:
            self.regexes.add(pattern.regex)
            if len(self.regexes) > MAX_REGEXES:
                # That there are too many is fault enough; to compile them all takes seconds.
                return
        try:
            compile_pattern(pattern, self._compiled)
        except PatternFault as error:
            self.fault(f"{path}.{error.field}", error.problem)

    def selective(self, pattern: Pattern, path: str) -> None:
        """Judges one whose matches are not data: if it matches everything, the stream ends."""
        if pattern.match is Match.ANY and pattern.frame is None:
            self.fault(path, "must not match every message")
        self.pattern(pattern, path)

    def _compiled(self, expression: str, /) -> ByteSearch:
        """Compiles each expression once, also one that cannot be."""
        if problem := self._regex_problems.get(expression):
            raise ValueError(problem)
        if expression not in self._compiled_regexes:
            try:
                self._compiled_regexes[expression] = self._compile_regex(expression)
            except ValueError as error:
                self._regex_problems[expression] = str(error)
                raise
        return self._compiled_regexes[expression]


def _no_regex(_: str, /) -> NoReturn:
    raise ValueError("regular expressions are not available here")
