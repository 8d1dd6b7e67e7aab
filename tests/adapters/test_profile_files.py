"""The folder of profiles: what is read, and how its faults are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from websocketmanager.adapters.profile_files import packaged_folder, read_profiles
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.profiles import Profile, filled
from websocketmanager.errors import SettingsInvalid

SHIPPED = (
    "alpaca",
    "binance-futures",
    "binance-spot",
    "coinbase",
    "coinbase-signed",
    "kraken",
    "okx",
    "okx-private",
)


def _read(folder: Path) -> dict[str, Profile]:
    return dict(read_profiles(folder, compile_regex=compile_regex, limits=Limits()))


def _faults(folder: Path) -> list[str]:
    with pytest.raises(SettingsInvalid) as refused:
        _read(folder)
    return [str(fault) for fault in refused.value.faults]


def test_the_name_is_the_files_and_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "my-venue.yaml").write_text("meaning: mine\n")
    (tmp_path / "README.md").write_text("# none\n")
    (tmp_path / "below").mkdir()
    assert _read(tmp_path) == {"my-venue": Profile("my-venue", "mine")}


def test_every_fault_of_every_file_is_told(tmp_path: Path) -> None:
    texts = {
        "Bad Name.yaml": "meaning: m\n",
        "a.yaml": "meaning: m\noptions:\n  exclusiv: x\n  send_spacing_ms: x\n",
        "b.yaml": "meaning: m\nmeaning: n\n",
        "c.yaml": "- 1\n",
        "d.yaml": "",
        "e.yaml": "options: {send_spacing_ms: 1",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "f.yaml").write_bytes(b"\xff")
    (tmp_path / "g.yaml").mkdir()
    (tmp_path / "h.yaml").write_text("meaning: good\n")
    faults = _faults(tmp_path)
    told = [(Path(one.split(".yaml: ")[0]).name, one.split(".yaml: ")[1]) for one in faults]
    names = [name for name, _ in told]
    assert names == ["Bad Name", "a", "a", "b", "c", "d", "e", "f", "g"]
    assert told[0][1] == "must be named by lower case letters, digits and -, at most 64"
    assert told[1][1].startswith("options.exclusiv: is not a key here; there are reconnect, ")
    assert told[2][1] == "options.send_spacing_ms: must be a whole number"
    assert "the key 'meaning' stands there twice" in told[3][1]
    assert told[5][1] == "meaning: must be given"
    assert told[7][1].startswith("cannot be read: ")


def test_no_folder_is_a_fault(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    assert _faults(folder) == [f"{folder}: cannot be read as a folder: No such file or directory"]


def test_the_shipped_profiles_are_sound_and_ask_for_symbols_alike() -> None:
    profiles = _read(packaged_folder())
    assert tuple(profiles) == SHIPPED
    for profile in profiles.values():
        names = {one.name: one for one in profile.parameters}
        assert names["symbol"].several
        assert names["channel"].several
        options, faults = filled(profile, {"symbol": "A,B", "channel": "c,d"})
        assert not faults
        assert len({one.key for one in options.subscriptions}) == 4
        assert all(one.unsubscribe and one.acknowledge for one in options.subscriptions)


@pytest.mark.parametrize("name", SHIPPED)
def test_each_shipped_profile_names_its_sources(name: str) -> None:
    text = (packaged_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    head = text.partition("\nmeaning:")[0]
    assert re.search(r"^# Sources\n#   \[1\] https://", head, re.MULTILINE)
    sources = set(re.findall(r"^#   (\[\d\]) https://\S+", head, re.MULTILINE))
    used = set(re.findall(r"\[\d\]", text.partition("\nmeaning:")[2]))
    assert used, "no figure has a source"
    assert used <= sources


def test_the_documentation_tells_of_every_shipped_profile() -> None:
    text = (packaged_folder().parents[1] / "docs" / "profiles.md").read_text(encoding="utf-8")
    for name, profile in _read(packaged_folder()).items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        for one in profile.parameters:
            assert f"`{one.name}`" in row
