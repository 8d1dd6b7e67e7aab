"""Which hosts and addresses may be dialled: public ones, and what an operator allows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, Self

from websocketmanager.domain.addresses import CLOUD_METADATA, LOOPBACK, special_rule
from websocketmanager.domain.hosts import Malformed, read_address, read_host
from websocketmanager.errors import Fault, SettingsInvalid

_LOCALHOST: Final = "localhost"
_LOOPBACK_NAMES: Final = frozenset(
    {_LOCALHOST, "localhost.localdomain", "ip6-localhost", "ip6-loopback"}
)
_LOOPBACK_ADDRESSES: Final = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_METADATA_NAMES: Final = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data"}
)

_Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Which hosts and addresses may be dialled: public ones, and what an operator allows.

    Attributes:
        names: allowed host names, lower case, without a final dot.
        suffixes: endings of allowed host names, each with its leading dot.
        networks: allowed addresses.
    """

    names: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    networks: tuple[_Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str], *, path: str = "AllowedHosts") -> Self:
        """Builds the policy from an allow-list.

        Args:
            entries: host names, `*.suffix` for all names below one, addresses, or networks in
                CIDR notation. `localhost` also allows the loopback addresses, which are the same
                place (RFC 6761 §6.3).
            path: of the list within the settings.

        Raises:
            SettingsInvalid: naming every entry that is none of these.
        """
        names: set[str] = set()
        suffixes: list[str] = []
        networks: list[_Network] = []
        faults: list[Fault] = []
        for number, entry in enumerate(entries):
            text = entry.strip()
            try:
                if network := _network(text):
                    networks.append(network)
                elif text.startswith("*."):
                    suffixes.append(f".{_allowed_name(text[2:])}")
                else:
                    names.add(_allowed_name(text))
            except Malformed as malformed:
                faults.append(Fault(f"{path}[{number}]", f"{entry!r} {malformed}"))
        if faults:
            raise SettingsInvalid(*faults)
        if _LOCALHOST in names:
            networks += (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
        return cls(frozenset(names), tuple(suffixes), tuple(networks))

    def judge_host(self, host: str) -> str | None:
        """Judges a URL's host before it is resolved.

        Returns:
            The rule that refuses it, or None.
        """
        name = host.lower().removesuffix(".")
        if self._allows_name(name):
            return None
        if read_address(host) is not None or "%" in host or ":" in host:
            return self.judge_address(host, host)
        if name in _LOOPBACK_NAMES or name.endswith(f".{_LOCALHOST}"):
            # Whoever allows a loopback address may call it by its name.
            allowed = any(self._allows_address(address) for address in _LOOPBACK_ADDRESSES)
            return None if allowed else LOOPBACK
        return CLOUD_METADATA if name in _METADATA_NAMES else None

    def judge_address(self, host: str, address: str) -> str | None:
        """Judges one address of a host. Total.

        Args:
            host: as the URL names it.
            address: text of an IPv4 or IPv6 address.

        Returns:
            The rule that refuses it, or None.
        """
        if "%" in address:
            return special_rule(address)
        if self._allows_name(host.lower().removesuffix(".")):
            return None
        parsed = read_address(address)
        if parsed is not None and self._allows_address(parsed):
            return None
        return special_rule(address)

    def trusts_name(self, host: str) -> bool:
        """Whether the allow-list holds the host's name itself, wherever it may point to."""
        return self._allows_name(host.lower().removesuffix("."))

    def _allows_name(self, name: str) -> bool:
        return name in self.names or name.endswith(self.suffixes)

    def _allows_address(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self.networks)


def _network(text: str) -> _Network | None:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "/" not in bare and read_address(bare) is None:
        return None
    if "%" in bare:
        raise Malformed("has an IPv6 zone")
    try:
        return ip_network(bare)
    except ValueError:
        raise Malformed("is not a network whose host bits are zero (10.0.0.0/8)") from None


def _allowed_name(text: str) -> str:
    try:
        host, literal = read_host(text)
    except Malformed:
        literal, host = None, ""
    if literal is not None or not host:
        raise Malformed("is not a name, *.suffix, an address or a network (0.0.0.0/0 is all IPv4)")
    return host.removesuffix(".")
