"""Settings from sources given in a test, or the faults that are found in them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from websocketmanager.errors import SettingsInvalid
from websocketmanager.settings import Settings, load_settings


def load(
    cli: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Mapping[str, object] | None = None,
) -> Settings:
    """Returns the settings of these sources."""
    return load_settings(cli=cli or {}, environ=environ or {}, file=file or {})


def faults(
    cli: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Mapping[str, object] | None = None,
) -> list[str]:
    """Returns what is wrong with these sources, as an operator reads it."""
    with pytest.raises(SettingsInvalid) as invalid:
        load(cli, environ, file)
    return [str(fault) for fault in invalid.value.faults]
