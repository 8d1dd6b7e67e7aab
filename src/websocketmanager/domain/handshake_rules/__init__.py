"""Judges what a caller may say in an opening handshake, and through which proxy. Pure; stdlib only.

All texts are the evaluated ones: a secret that ends in a line break is as wrong as a header that
does. No sentence repeats a value, which may be a secret.
"""

from websocketmanager.domain.handshake_rules.faults import handshake_faults
from websocketmanager.domain.handshake_rules.headers import MAX_HEADERS, MAX_SUBPROTOCOLS
from websocketmanager.domain.handshake_rules.proxy import ProxyUrl, parse_proxy
from websocketmanager.domain.handshake_rules.tls import certificates

__all__ = [
    "MAX_HEADERS",
    "MAX_SUBPROTOCOLS",
    "ProxyUrl",
    "certificates",
    "handshake_faults",
    "parse_proxy",
]
