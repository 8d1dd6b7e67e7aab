"""Reads a configuration file: YAML, and stricter than YAML. The profiles' files, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from websocketmanager.errors import Fault, SettingsInvalid


def parse_file(text: str, *, path: str) -> Mapping[str, object]:
    """Returns the keys of a configuration file in YAML; `path` is for the fault only.

    Raises:
        SettingsInvalid: not YAML, not a mapping, or a key twice.
    """
    try:
        content = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as broken:
        problem = " ".join(str(broken).split())
        raise SettingsInvalid(Fault(path, f"is not valid YAML: {problem}")) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsInvalid(Fault(path, "must hold lines of the form `Key: value`"))
    return {str(key): value for key, value in content.items()}


class _UniqueKeys(yaml.SafeLoader):
    """SafeLoader lets the last of equal keys win in silence; here they are an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = repr(self.construct_object(key_node, deep=True))
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key} stands there twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
