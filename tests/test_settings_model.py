"""Settings are one frozen value; the shipped files and the documents tell the truth of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kit.settings import load
from websocketmanager.settings import KEYS, Settings, option_of, parse_file

ROOT = Path(__file__).parent.parent


def test_settings_are_frozen_and_know_their_fields() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().http_port = 1
    with pytest.raises(ValueError, match="Extra inputs"):
        Settings.model_validate({"htp_port": 1})


def test_the_shipped_yaml_holds_every_key_with_its_default() -> None:
    text = (ROOT / "config" / "websocketmanager.yaml").read_text(encoding="utf-8")
    assert parse_file(text, path="x") == {}, "every key is commented out"
    file = parse_file(re.sub(r"(?m)^#(?=\w)", "", text), path="x")
    assert list(file) == [key.name for key in KEYS.values()]
    assert load(file=file) == Settings()
    assert [name for name, value in file.items() if value is None] == [
        "VIRTUFIN_API_KEY",
        "InstanceId",
    ]


def test_the_shipped_environment_holds_every_key_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    environ = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert list(environ) == [key.name for key in KEYS.values()]
    assert load(environ=environ) == Settings()
    unset = [name for name, value in environ.items() if not value]
    assert unset == [
        "AdvertisedHost",
        "VIRTUFIN_API_KEY",
        "InstanceId",
        "AllowedHosts",
        "HostDialSpacingMs",
        "HostMaxConnections",
        "SecretsFolder",
        "MessageLogFolder",
        "ProfilesFolder",
    ]


def test_the_documentation_lists_every_key_with_its_option() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for field, key in KEYS.items():
        option = "–" if key.secret else f"`{option_of(field)}`"
        assert f"| `{key.name}` | {option} |" in text
