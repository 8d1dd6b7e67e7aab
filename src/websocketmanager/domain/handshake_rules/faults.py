"""All rules of a handshake together, each fault at the path of its field."""

from __future__ import annotations

from collections.abc import Sequence

from websocketmanager.domain.handshake_rules.headers import (
    header_faults,
    origin_problem,
    subprotocol_faults,
)
from websocketmanager.domain.handshake_rules.proxy import proxy_problem
from websocketmanager.domain.handshake_rules.tls import tls_faults
from websocketmanager.domain.options import TlsOptions
from websocketmanager.errors import Fault


def handshake_faults(
    *,
    headers: Sequence[tuple[str, str]] = (),
    subprotocols: Sequence[str] = (),
    origin: str = "",
    proxy: str = "",
    tls: TlsOptions | None = None,
    secure: bool = True,
) -> list[Fault]:
    """Judges all of a handshake's options, each at the path of its field.

    Args:
        headers: names and values.
        subprotocols: in the order of preference.
        origin: empty for none.
        proxy: empty for none.
        tls: None for nothing special.
        secure: whether the URL is wss://.
    """
    faults = [*header_faults(headers), *subprotocol_faults(subprotocols)]
    if origin and (problem := origin_problem(origin)):
        faults.append(Fault("origin", problem))
    if proxy and (problem := proxy_problem(proxy)):
        faults.append(Fault("proxy", problem))
    if tls is not None:
        faults += tls_faults(tls, secure=secure)
    return faults
