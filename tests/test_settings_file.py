"""A configuration file is read strictly."""

from __future__ import annotations

import pytest

from websocketmanager.errors import SettingsInvalid
from websocketmanager.settings import parse_file


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "is not valid YAML"),
        ("HttpPort: 1\nHttpPort: 2", "'HttpPort' stands there twice"),
        ("- a", "must hold lines of the form"),
        ("!!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("? [1]\n: 2", "is not valid YAML"),
    ],
)
def test_files_that_cannot_be_read_are_faults_of_the_file(text: str, problem: str) -> None:
    with pytest.raises(SettingsInvalid, match=problem) as invalid:
        parse_file(text, path="my.yaml")
    assert invalid.value.faults[0].path == "my.yaml"


def test_an_empty_file_says_nothing() -> None:
    assert parse_file("# nothing\n", path="x") == {}
