"""Certificates of a private authority, for peers that speak TLS.

server = certificates.server_context("feed.test")     # for a peer
client = certificates.client_context()                # trusts exactly this authority
"""

from __future__ import annotations

import functools
import ssl

import trustme


@functools.cache
def authority() -> trustme.CA:
    """Returns the authority, one for the whole run."""
    return trustme.CA()


def server_context(*names: str) -> ssl.SSLContext:
    """Returns what a TLS server with a certificate for these names or addresses needs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(*names).configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    """Returns a client's context that trusts this authority and no other."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context
