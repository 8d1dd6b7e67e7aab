"""Profiles from a folder of YAML files, one each: `okx.yaml` is the profile `okx`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import websocketmanager
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.pattern import CompileRegex
from websocketmanager.domain.profile_documents import NAME, profile_of
from websocketmanager.domain.profiles import Profile
from websocketmanager.errors import Fault, SettingsInvalid
from websocketmanager.settings import parse_file

_ENDING = ".yaml"


def packaged_folder() -> Path:
    """Returns the folder of the profiles that come with the program."""
    package = Path(websocketmanager.__file__).parent
    installed = package / "profiles"
    # In a working copy they stand where people look for them.
    return installed if installed.is_dir() else package.parents[1] / "config" / "profiles"


def read_profiles(
    folder: Path, *, compile_regex: CompileRegex, limits: Limits
) -> Mapping[str, Profile]:
    """Returns the profiles in a folder by name. Files with another ending are left alone.

    Args:
        folder: where to look; not below it.
        compile_regex: judges regular expressions.
        limits: the service's bounds.

    Raises:
        SettingsInvalid: with every fault of every file, by file and path.
    """
    try:
        found = [one for one in folder.iterdir() if one.suffix == _ENDING]
    except OSError as unreadable:
        problem = f"cannot be read as a folder: {unreadable.strerror}"
        raise SettingsInvalid(Fault(str(folder), problem)) from None
    profiles: dict[str, Profile] = {}
    faults: list[Fault] = []
    for file in sorted(found, key=lambda one: one.stem):
        try:
            profiles[file.stem] = _read(file, compile_regex, limits)
        except SettingsInvalid as invalid:
            faults += invalid.faults
    if faults:
        raise SettingsInvalid(*faults)
    return profiles


def _read(file: Path, compile_regex: CompileRegex, limits: Limits) -> Profile:
    if not NAME.fullmatch(file.stem):
        problem = "must be named by lower case letters, digits and -, at most 64"
        raise SettingsInvalid(Fault(str(file), problem))
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as unreadable:
        raise SettingsInvalid(Fault(str(file), f"cannot be read: {unreadable}")) from None
    document = parse_file(text, path=str(file))
    profile, faults = profile_of(file.stem, document, compile_regex=compile_regex, limits=limits)
    if profile is None:
        raise SettingsInvalid(*(Fault(f"{file}: {one.path}", one.problem) for one in faults))
    return profile
