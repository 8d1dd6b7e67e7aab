"""What the objects of this process hold: looks for a text in everything that is alive.

    assert holders(CANARY.lower()) == []

Names the classes on the way to each find, so that one sees who keeps it.
"""

from __future__ import annotations

import gc
from types import ModuleType
from typing import Any

_TEXTS = (str, bytes, bytearray)
#: Steps on the way to a find that are told.
_STEPS = 8


def holders(text: str) -> list[str]:
    """Returns the ways to strings and bytes that hold a text, the text itself excepted.

    Strings are no objects to the collector: they are found by whoever refers to them. What only
    C code holds is not found.

    Args:
        text: what is looked for; the caller must not have made others that hold it.
    """
    gc.collect()
    encoded = text.encode()
    passed = {id(text), id(encoded)}
    # Whoever is tracked is a beginning; from there also to what is not, as tuples of strings.
    came: dict[int, Any] = {}
    found: list[str] = []
    waiting = [one for one in gc.get_objects() if id(one) not in passed]
    passed.update(map(id, (came, found, waiting, passed)))
    seen = passed | {id(one) for one in waiting}
    passed.add(id(seen))
    while waiting:
        holder = waiting.pop()
        for one in gc.get_referents(holder):
            if isinstance(one, _TEXTS):
                if id(one) not in passed and _holds(one, text, encoded):
                    passed.add(id(one))
                    found.append(_way(holder, came))
            elif id(one) not in seen:
                seen.add(id(one))
                came[id(one)] = holder
                waiting.append(one)
    return found


def _holds(one: str | bytes | bytearray, text: str, encoded: bytes) -> bool:
    return text in one if isinstance(one, str) else encoded in one


def _way(holder: Any, came: dict[int, Any]) -> str:
    steps = [holder]
    while len(steps) < _STEPS:
        before = came.get(id(steps[-1])) or _referrer(steps[-1], [*steps, steps, came])
        if before is None:
            break
        steps.append(before)
    return " < ".join(map(_name, steps))


def _referrer(one: Any, known: list[Any]) -> Any:
    own = {id(other) for other in known} | {id(known)}
    for other in gc.get_referrers(one):
        if id(other) not in own and type(other).__name__ not in {"list_iterator", "frame", "list"}:
            return other
    return None


def _name(one: Any) -> str:
    if isinstance(one, ModuleType):
        return f"module {one.__name__}"
    return f"{type(one).__module__}.{type(one).__qualname__}"
