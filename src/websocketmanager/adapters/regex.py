"""Compiles regular expressions on google-re2, whose searches take time linear in the data.

Linear is not yet fast: an automaton that does not fit its memory is simulated, which costs some
nanoseconds per byte and instruction. So both are bounded together, and one search takes at most
a small fraction of a second, whoever wrote the expression and whoever sent the data.
"""

from __future__ import annotations

from typing import Final
from weakref import WeakValueDictionary

import re2

#: Characters of an expression.
MAX_EXPRESSION_LENGTH: Final = 1024
#: Instructions of a compiled expression; about one per character or range of characters.
MAX_INSTRUCTIONS: Final = 512
#: Bytes times instructions of one search.
MAX_STEPS: Final = 2**24
#: Memory of one compiled expression with its caches; equal expressions share it.
MAX_MEMORY_BYTES: Final = 1_048_576


class Regex:
    """A compiled expression.

    Attributes:
        searched_bytes: of a message, counted from its front; what follows is not looked at.
            32 KiB for the largest expressions, 1 MiB for those of 16 instructions.
    """

    __slots__ = ("__weakref__", "_compiled", "searched_bytes")

    def __init__(self, expression: str) -> None:
        self._compiled = re2.compile(expression, _options())
        # The library counts a few instructions of its own.
        self.searched_bytes = MAX_STEPS // max(1, self._compiled.programsize)

    def __repr__(self) -> str:
        return f"<Regex {self._compiled.pattern!a}>"

    def search(self, data: bytes) -> bool:
        """Says whether the expression is found in the searched bytes; never raises."""
        return self._compiled.search(data, 0, self.searched_bytes) is not None


#: By expression, as long as something searches with it: an expression may hold a credential.
_ALIVE: Final[WeakValueDictionary[str, Regex]] = WeakValueDictionary()


def compile_regex(expression: str) -> Regex:
    """Compiles an expression in RE2 syntax over UTF-8, or returns an equal one that is in use.

    Raises:
        ValueError: with a sentence; it is no such expression, or too large.
    """
    known = _ALIVE.get(expression)
    if known is not None:
        return known
    if len(expression) > MAX_EXPRESSION_LENGTH:
        raise ValueError(f"an expression has at most {MAX_EXPRESSION_LENGTH} characters")
    try:
        regex = Regex(expression)
    except UnicodeEncodeError as error:
        raise ValueError("a lone surrogate is no Unicode text") from error
    except re2.error as error:
        raise ValueError(f"is no RE2 expression: {_words(error)}") from error
    finally:
        re2.purge()  # the library would remember 128, whoever has gone
    if regex.searched_bytes < MAX_STEPS // MAX_INSTRUCTIONS:
        raise ValueError(
            f"is too large: it compiles to more than {MAX_INSTRUCTIONS} instructions "
            "(long repetitions and wide classes cost most)"
        )
    _ALIVE[expression] = regex
    return regex


def _words(error: Exception) -> str:
    # The library hands out bytes.
    said = error.args[0] if error.args else "unknown"
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def _options() -> re2.Options:
    options = re2.Options()
    options.max_mem = MAX_MEMORY_BYTES
    options.never_capture = True
    options.log_errors = False
    return options
