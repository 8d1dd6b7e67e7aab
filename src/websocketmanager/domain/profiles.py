"""Ready-made options by name: parameters filled in, then put below what the caller chose. Pure.

A text of a profile may hold `{name}`, the place of a parameter. A subscription with the place of
a parameter that takes several values is made once for each of them, and `{number}` in it is its
place in the list, from 1.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from typing import Any, Final, TypeVar

from websocketmanager.domain.model import ConnectionOptions
from websocketmanager.domain.option_faults import MAX_SUBSCRIPTIONS
from websocketmanager.domain.options import Pattern, Subscription
from websocketmanager.errors import Fault

T = TypeVar("T")

#: The place of a subscription in the list; no parameter has this name.
NUMBER: Final = "number"
PARAMETERS_PATH: Final = "profile_parameters"

_PLACE: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")
#: Nothing that ends a text in JSON, a template or a list of values.
_VALUE: Final = re.compile(r"[^\s\"'\\{}$,\x00-\x1f\x7f-\x9f]{1,128}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a profile wants to be told.

    Attributes:
        name: how callers call it.
        meaning: for whoever must give it.
        default: what counts when it is not given; empty: nothing does.
        several: whether it takes values with commas between them.
    """

    name: str
    meaning: str
    default: str = ""
    several: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """Ready-made options; their texts still have places."""

    name: str
    meaning: str
    parameters: tuple[Parameter, ...] = ()
    options: ConnectionOptions = field(default_factory=ConnectionOptions)


# --- putting options upon others ------------------------------------------------------------------


def merged(
    below: ConnectionOptions, above: ConnectionOptions, explicit: Collection[str] = ()
) -> ConnectionOptions:
    """Returns `above` put upon `below`, field by field.

    What differs from its default in `above` wins, as a whole where it is a list, a heartbeat or a
    pattern. What has its default comes from `below`.

    Args:
        below: a profile's.
        above: the caller's.
        explicit: fields that the caller set to their default on purpose, as `group.field`.
    """
    return _put_upon(below, above, explicit, "")


def _put_upon(below: T, above: T, explicit: Collection[str], path: str) -> T:
    changes: dict[str, Any] = {}
    for name, default in _defaults(above):
        at, chosen = path + name, getattr(above, name)
        if is_dataclass(default):
            changes[name] = _put_upon(getattr(below, name), chosen, explicit, f"{at}.")
        elif chosen != default or at in explicit:
            changes[name] = chosen
    return _replaced(below, changes)


def _defaults(value: Any) -> Iterator[tuple[str, Any]]:
    for one in fields(value):
        make = one.default_factory
        yield one.name, one.default if make is MISSING else make()


# --- filling in parameters ------------------------------------------------------------------------


def filled(
    profile: Profile, given: Mapping[str, str]
) -> tuple[ConnectionOptions, tuple[Fault, ...]]:
    """Returns the profile's options with every place filled, and what is wrong with `given`.

    A subscription whose parameters were not given is left out: the caller has its own.
    """
    values, faults = _values(profile, given)
    meanings = {one.name: one.meaning for one in profile.parameters}
    wanted = _names(replace(profile.options, subscriptions=()))
    for subscription in profile.options.subscriptions:
        names = _names(subscription)
        if names & given.keys():
            wanted |= names
    missing = sorted(wanted & meanings.keys() - values.keys())
    faulty = {fault.path for fault in faults}
    for name in missing:
        if (path := f"{PARAMETERS_PATH}.{name}") not in faulty:
            faults.append(Fault(path, f"must be given: {meanings[name]}"))
    if not faults and (count := _count(profile.options.subscriptions, values)) > MAX_SUBSCRIPTIONS:
        problem = f"must make at most {MAX_SUBSCRIPTIONS} subscriptions, not {count}"
        faults.append(Fault(PARAMETERS_PATH, problem))
    if faults:
        return profile.options, tuple(faults)
    return _all_filled(profile.options, values), ()


def places(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Yields the path and the name of every place in the texts of options."""
    if isinstance(value, tuple):
        for index, element in enumerate(value):
            yield from places(element, f"{path}[{index}]")
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from places(getattr(value, one.name), f"{path}.{one.name}")
    elif isinstance(value, str):
        for name in _PLACE.findall(value):
            yield path, name


def _values(
    profile: Profile, given: Mapping[str, str]
) -> tuple[dict[str, tuple[str, ...]], list[Fault]]:
    known = {one.name for one in profile.parameters}
    faults = [
        Fault(f"{PARAMETERS_PATH}.{name}", f"is no parameter of {profile.name}; {_told(known)}")
        for name in given
        if name not in known
    ]
    values: dict[str, tuple[str, ...]] = {}
    for one in profile.parameters:
        # An empty value that was given is a fault, not the default.
        text = given.get(one.name, one.default)
        if not text and one.name not in given:
            continue
        elements = tuple(dict.fromkeys(text.split(","))) if one.several else (text,)
        if all(map(_VALUE.fullmatch, elements)):
            values[one.name] = elements
        else:
            problem = (
                "must have 1 to 128 characters, none of them a blank, quote, brace, backslash, "
                "comma or $" + (", and commas between values" if one.several else "")
            )
            faults.append(Fault(f"{PARAMETERS_PATH}.{one.name}", problem))
    return values, faults


def _told(known: Collection[str]) -> str:
    return f"there are {', '.join(sorted(known))}" if known else "there are none"


def _names(value: object) -> set[str]:
    return {name for _, name in places(value, "")}


def _complete(
    subscriptions: Sequence[Subscription], values: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[Subscription, list[str]]]:
    """Yields what can be filled, with the names of its parameters in the order of the profile."""
    for subscription in subscriptions:
        names = _names(subscription) - {NUMBER}
        if names <= values.keys():
            yield subscription, [name for name in values if name in names]


def _count(subscriptions: Sequence[Subscription], values: Mapping[str, tuple[str, ...]]) -> int:
    complete = _complete(subscriptions, values)
    return sum(math.prod(len(values[name]) for name in names) for _, names in complete)


def _all_filled(
    options: ConnectionOptions, values: Mapping[str, tuple[str, ...]]
) -> ConnectionOptions:
    numbers = itertools.count(1)
    subscriptions = tuple(
        _filled(subscription, dict(zip(names, chosen, strict=True)) | {NUMBER: str(next(numbers))})
        for subscription, names in _complete(options.subscriptions, values)
        for chosen in itertools.product(*(values[name] for name in names))
    )
    # Outside of subscriptions a parameter has one value.
    single = {name: elements[0] for name, elements in values.items()}
    rest = _filled(replace(options, subscriptions=()), single)
    return replace(rest, subscriptions=subscriptions)


def _filled(value: T, values: Mapping[str, str], *, escaped: bool = False) -> T:
    """Returns a copy with the places of these names filled; `escaped` for a regex."""
    result: Any = value
    if isinstance(value, tuple):
        result = tuple(_filled(element, values) for element in value)
    elif is_dataclass(value) and not isinstance(value, type):
        changes = {
            one.name: _filled(
                getattr(value, one.name),
                values,
                escaped=isinstance(value, Pattern) and one.name == "regex",
            )
            for one in fields(value)
        }
        result = _replaced(value, changes)
    elif isinstance(value, str) and not isinstance(value, StrEnum):

        def fill(place: re.Match[str]) -> str:
            text = values.get(place[1])
            if text is None:
                return place[0]
            return re.escape(text) if escaped else text

        result = _PLACE.sub(fill, value)
    filled_value: T = result
    return filled_value


def _replaced(value: T, changes: Mapping[str, Any]) -> T:
    """`dataclasses.replace` for a type that is not known to be a dataclass."""
    changeable: Any = value
    result: T = replace(changeable, **changes)
    return result
