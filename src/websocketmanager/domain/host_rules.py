"""Numbers by host: an operator's list of hosts, each with the number that counts there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from websocketmanager.domain.hosts import Malformed, read_address, read_host
from websocketmanager.errors import Fault, SettingsInvalid

_LARGEST: Final = 999_999_999
#: Not the standard library's reading: that one remembers the last 128 URLs with all that they hold.
_HOST: Final = re.compile(r"[^:/?#]*://(?:[^/?#]*@)?(?:\[([^\]/?#]*)\]|([^:/?#]*))")


@dataclass(frozen=True, slots=True)
class HostRules:
    """Which number counts at which host: that of its name, else of the longest ending.

    Attributes:
        hosts: numbers by name or address, as `host_of` returns them.
        endings: numbers by the ending of names, each with its leading dot, the longest first.
    """

    hosts: Mapping[str, int] = field(default_factory=dict)
    endings: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str], *, most: int = _LARGEST, path: str = "rules") -> Self:
        """Reads a list.

        Args:
            entries: `HOST=NUMBER` each; a host is a name, `*.suffix` for all names below one (each
                of them counts by itself), or an address. A number is whole and not negative.
            most: the largest number.
            path: of the list within the settings.

        Raises:
            SettingsInvalid: naming every entry that is wrong, or the second of its host.
        """
        hosts: dict[str, int] = {}
        endings: dict[str, int] = {}
        faults: list[Fault] = []
        for number, entry in enumerate(entries):
            try:
                host, value = _read(entry, most)
            except Malformed as malformed:
                faults.append(Fault(f"{path}[{number}]", f"{entry!r} {malformed}"))
                continue
            group = endings if host.startswith(".") else hosts
            if host in group:
                faults.append(Fault(f"{path}[{number}]", f"{entry!r} names its host again"))
            group[host] = value
        if faults:
            raise SettingsInvalid(*faults)
        longest_first = sorted(endings.items(), key=lambda pair: -len(pair[0]))
        return cls(hosts, tuple(longest_first))

    def at(self, host: str, default: int) -> int:
        """Returns the number that counts at a host, as `host_of` returns it."""
        if host in self.hosts:
            return self.hosts[host]
        return next((value for end, value in self.endings if host.endswith(end)), default)


def host_of(url: str) -> str:
    """Returns the host of a valid URL in its one spelling: ASCII, lower case, no final dot.

    An address stands without brackets. What is no host comes back as it is.
    """
    found = _HOST.match(url)
    return "" if found is None else _normal((found[1] or found[2] or "").lower())


def _normal(text: str) -> str:
    if (address := read_address(text)) is not None:
        return str(address)
    try:
        return read_host(text)[0].removesuffix(".")
    except Malformed:
        return text


def _read(entry: str, most: int) -> tuple[str, int]:
    host, equals, number = (part.strip() for part in entry.rpartition("="))
    if not equals:
        raise Malformed("is not HOST=NUMBER")
    if not (number.isascii() and number.isdigit()):
        raise Malformed("must have a whole number behind its host, 0 or more")
    if len(number) > len(str(most)) or int(number) > most:
        raise Malformed(f"must have at most {most}")
    bare = host.removeprefix("[").removesuffix("]")
    if read_address(bare) is not None:
        return _normal(bare), int(number)
    name = host.removeprefix("*.")
    try:
        _, literal = read_host(name)
    except Malformed:
        raise Malformed("does not begin with a name, *.suffix or an address") from None
    if literal is not None:
        raise Malformed("must not have *. before an address")
    return ("." if name != host else "") + _normal(name), int(number)
