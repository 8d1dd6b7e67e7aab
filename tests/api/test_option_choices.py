"""Every number of an enum means something, and every meaning has a number."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import pytest

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.api import option_choices as tables
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import FirstDial, Format
from websocketmanager.domain.options import Compression, Match, Overflow, Overlap
from websocketmanager.domain.retry import Advice

TABLES: list[tuple[str, Mapping[Any, Any], type[Enum]]] = [
    ("Format", tables.FORMATS, Format),
    ("FirstDial", tables.FIRST_DIALS, FirstDial),
    ("Compression", tables.COMPRESSIONS, Compression),
    ("Match", tables.MATCHES, Match),
    ("Advice", tables.ADVICES, Advice),
    ("Overflow", tables.OVERFLOWS, Overflow),
    ("Overlap", tables.OVERLAPS, Overlap),
    ("Frame", tables.FRAMES, Kind),
]
#: Zero says something only together with the other fields.
WITHOUT_ZERO = {"Match"}


@pytest.mark.parametrize(("name", "table", "meanings"), TABLES, ids=[each[0] for each in TABLES])
def test_every_number_and_every_meaning_is_there(
    name: str, table: Mapping[Any, Any], meanings: type[Enum]
) -> None:
    numbers = set(pb.DESCRIPTOR.enum_types_by_name[name].values_by_number)
    assert set(table) == numbers - ({0} if name in WITHOUT_ZERO else set())
    assert set(table.values()) - {None} == set(meanings)


@pytest.mark.parametrize(("name", "table", "meanings"), TABLES, ids=[each[0] for each in TABLES])
def test_the_number_of_a_meaning_is_the_one_that_names_it(
    name: str, table: Mapping[Any, Any], meanings: type[Enum]
) -> None:
    values = pb.DESCRIPTOR.enum_types_by_name[name].values_by_number
    for meaning, number in {value: number for number, value in table.items()}.items():
        if meaning is not None:
            assert values[number].name.endswith(f"_{meaning.name}")


def test_days_are_counted_as_in_python() -> None:
    numbers = pb.DESCRIPTOR.enum_types_by_name["Weekday"].values_by_number
    assert set(tables.WEEKDAYS) == set(numbers) - {0}
    assert [numbers[number].name for number, _ in sorted(tables.WEEKDAYS.items())] == [
        f"WEEKDAY_{day}"
        for day in ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]
    ]
    assert sorted(tables.WEEKDAYS.values()) == list(range(7))
