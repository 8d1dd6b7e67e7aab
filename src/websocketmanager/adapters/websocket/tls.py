"""Makes TLS contexts of PEM texts. Verification cannot be switched off; no key touches a disk."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import sys
import tempfile
from collections import OrderedDict
from typing import BinaryIO, Final

from websocketmanager.domain.handshake_rules import certificates
from websocketmanager.domain.options import TlsOptions

#: Contexts kept: one with the system's authorities takes about a megabyte.
MAX_CONTEXTS: Final = 64


class TlsTextUnusable(Exception):
    """OpenSSL cannot use a PEM text; the exception's own text says which."""


class TlsContexts:
    """Contexts by what they are made of, the last used ones kept.

    Args:
        default: for connections that ask for nothing special.
        max_contexts: how many others are kept.
    """

    def __init__(self, default: ssl.SSLContext, *, max_contexts: int = MAX_CONTEXTS) -> None:
        self._default = default
        self._max_contexts = max_contexts
        # By digest, so that no key stays in memory for the sake of being compared.
        self._contexts: OrderedDict[bytes, ssl.SSLContext] = OrderedDict()
        self._making = asyncio.Lock()

    async def context(self, tls: TlsOptions) -> ssl.SSLContext:
        """Returns the context for these texts; equal texts share one.

        A CA text replaces the system's authorities. Cancelling leaves a thread of the loop's
        executor that ends by itself.

        Raises:
            TlsTextUnusable: OpenSSL cannot use one of them.
        """
        if not (tls.ca_pem or tls.certificate_pem):
            return self._default
        key = _digest(tls)
        async with self._making:
            if (context := self._contexts.get(key)) is None:
                context = await asyncio.to_thread(make_context, tls)
                self._contexts[key] = context
                if len(self._contexts) > self._max_contexts:
                    self._contexts.popitem(last=False)
            else:
                self._contexts.move_to_end(key)
        return context


def make_context(tls: TlsOptions) -> ssl.SSLContext:
    """Makes a client's context that verifies; reads files of the system, so not for the loop.

    Raises:
        TlsTextUnusable: OpenSSL cannot use one of the texts.
    """
    try:
        context = ssl.create_default_context(cadata=certificates(tls.ca_pem) or None)
    except (ssl.SSLError, ValueError):
        raise TlsTextUnusable("tls.ca_pem cannot be read as certificates") from None
    if tls.certificate_pem:
        _present(context, certificates(tls.certificate_pem), tls.key_pem)
    return context


def _present(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Has the context present a certificate. OpenSSL reads it from files only."""
    with _nameless_file(certificate) as certificate_file, _nameless_file(key) as key_file:
        try:
            context.load_cert_chain(
                f"/dev/fd/{certificate_file.fileno()}",
                f"/dev/fd/{key_file.fileno()}",
                # An encrypted key, which the rules refuse, must not make OpenSSL ask at a terminal.
                password=lambda: b"",
            )
        except (OSError, ValueError):  # an SSLError is an OSError
            raise TlsTextUnusable(
                "tls.certificate_pem and tls.key_pem cannot be used together"
            ) from None


def _nameless_file(text: str) -> BinaryIO:
    """Opens a file with this text and without a name: it ends with this process at the latest."""
    file: BinaryIO
    if sys.platform == "linux":
        file = os.fdopen(os.memfd_create("pem"), "w+b")  # in memory only
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(text.encode())
    file.seek(0)
    return file


def _digest(tls: TlsOptions) -> bytes:
    digest = hashlib.sha256()
    for text in (tls.ca_pem, tls.certificate_pem, tls.key_pem):
        data = text.encode(errors="surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()
