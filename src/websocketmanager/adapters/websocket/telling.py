"""What an observer of a dial is told: facts of TLS and of the handshake, in words."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from websockets.client import ClientProtocol

#: Characters of one name in a certificate, which may be anything.
_MAX_NAME: Final = 100


def tls_facts(transport: asyncio.BaseTransport) -> str:
    """Returns version and cipher, and whose certificate it is and until when."""
    tls = transport.get_extra_info("ssl_object")
    cipher = tls.cipher()
    certificate = transport.get_extra_info("peercert") or {}
    facts = [
        tls.version() or "TLS",
        cipher[0] if cipher else "",
        f"certificate of {_subject(certificate)}",
        f"valid until {certificate.get('notAfter', 'an unknown time')}",
    ]
    return ", ".join(filter(None, facts))


def negotiated(protocol: ClientProtocol) -> str:
    """Returns the subprotocol and the extensions that the server chose."""
    extensions = ", ".join(one.name for one in protocol.extensions)
    return f"subprotocol {protocol.subprotocol or 'none'}, extensions {extensions or 'none'}"


def _subject(certificate: Any) -> str:
    """Returns the common name, else the first alternative name, else the whole subject."""
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    common = [value for name, value in subject if name == "commonName"]
    alternative = [value for _, value in certificate.get("subjectAltName", ())]
    names = common or alternative or [value for _, value in subject] or ["nobody"]
    return _printable(names[0])


def _printable(text: str) -> str:
    clean = "".join(one if one.isprintable() else "?" for one in text)
    return clean if len(clean) <= _MAX_NAME else clean[: _MAX_NAME - 1] + "…"
