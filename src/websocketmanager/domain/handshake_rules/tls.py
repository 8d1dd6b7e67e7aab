"""What a caller may say of TLS: PEM texts, and the name that a certificate must carry."""

from __future__ import annotations

import re
from typing import Final

from websocketmanager.domain.hosts import Malformed, read_address, read_host
from websocketmanager.domain.options import TlsOptions
from websocketmanager.errors import Fault

#: Every public authority there is takes about 230,000.
MAX_PEM_LENGTH: Final = 524_288

_CERTIFICATES: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)
_KEYS: Final = re.compile(
    r"-----BEGIN ((?:RSA |EC )?PRIVATE KEY)-----\s[A-Za-z0-9+/=\s]+-----END \1-----"
)
#: PKCS #8 and, before it, OpenSSL's own way.
_ENCRYPTED_KEY: Final = re.compile(r"-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED")


def tls_faults(tls: TlsOptions, path: str = "tls", *, secure: bool = True) -> list[Fault]:
    """Judges TLS options; whether OpenSSL can use the texts is seen when it does."""
    if not secure and tls != TlsOptions():
        return [Fault(path, "must not be given for a URL that is not wss://")]
    problems = {
        "ca_pem": tls.ca_pem and certificate_problem(tls.ca_pem),
        "certificate_pem": tls.certificate_pem and certificate_problem(tls.certificate_pem),
        "key_pem": tls.key_pem and key_problem(tls.key_pem),
        "server_name": tls.server_name and server_name_problem(tls.server_name),
    }
    faults = [Fault(f"{path}.{name}", problem) for name, problem in problems.items() if problem]
    if tls.certificate_pem and not tls.key_pem:
        faults.append(Fault(f"{path}.key_pem", "must be given with certificate_pem"))
    if tls.key_pem and not tls.certificate_pem:
        faults.append(Fault(f"{path}.certificate_pem", "must be given with key_pem"))
    return faults


def certificate_problem(pem: str) -> str | None:
    """Says what is wrong with the PEM text (RFC 7468) of one certificate or more."""
    if len(pem) > MAX_PEM_LENGTH:
        return f"must have at most {MAX_PEM_LENGTH} characters, not {len(pem)}"
    if not _CERTIFICATES.search(pem):
        return "must have a PEM block of type CERTIFICATE"
    return None


def key_problem(pem: str) -> str | None:
    """Says what is wrong with the PEM text of a private key."""
    if len(pem) > MAX_PEM_LENGTH:
        return f"must have at most {MAX_PEM_LENGTH} characters, not {len(pem)}"
    if _ENCRYPTED_KEY.search(pem):
        return "must not be encrypted: there is nobody to ask for its password"
    if len(_KEYS.findall(pem)) != 1:
        return "must have one PEM block of type PRIVATE KEY"
    return None


def server_name_problem(name: str) -> str | None:
    """Says what is wrong with the name that a certificate must carry."""
    if read_address(name) is not None and "%" not in name:
        return None
    try:
        read_host(name)
    except Malformed as malformed:
        return str(malformed)
    return None


def certificates(pem: str) -> str:
    """Returns only the certificates of a text, without what authors write between them."""
    return "\n".join([*_CERTIFICATES.findall(pem), ""])
