"""One validated value for everything that an operator may tune.

Pure: the sources arrive as mappings, the faults leave together. May import domain and errors;
never reads the environment, the command line or a file itself.

`model` holds every key, `fields` what one value may be, `rules` what two values may be together;
`file` reads the YAML, `sources` says which source's value counts, `loading` judges all of them.
"""

from websocketmanager.settings.file import parse_file
from websocketmanager.settings.loading import load_settings
from websocketmanager.settings.model import KEYS, Key, Settings, option_of
from websocketmanager.settings.sources import Given, sources

__all__ = [
    "KEYS",
    "Given",
    "Key",
    "Settings",
    "load_settings",
    "option_of",
    "parse_file",
    "sources",
]
