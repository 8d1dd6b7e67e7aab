"""Hides in options what may be a secret in plain text, for those who look at them. Pure.

References are shown as they are (`${secret:NAME}`): they are what tells people where to look.
Hidden are values of headers and of JSON members in messages whose names speak of credentials,
a proxy's user information and query, and private keys. A secret in plain text anywhere else
cannot be told from data.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from websocketmanager.domain.model import ConnectionOptions
from websocketmanager.domain.options import Header, Payload, Step, Subscription
from websocketmanager.domain.redaction import HIDDEN, redact

_CREDENTIAL: Final = re.compile(
    r"auth|cookie|credential|jwt|key|pass|secret|session|sign|token", re.IGNORECASE
)
#: Nothing but expressions, after the name of a scheme. A quoted string may be the secret itself.
_REFERENCE: Final = re.compile(
    r"(?:(?:apikey|basic|bearer|digest|key|token) +)?(?:\$\{[^}']*\})+", re.IGNORECASE
)
#: A member with a text; both are JSON strings. Possessive: read in one way only.
_MEMBER: Final = re.compile(r'("((?:[^"\\]|\\.)*+)"\s*+:\s*+)"((?:[^"\\]|\\.)*+)"', re.DOTALL)

#: Most connections choose nothing, and a list may show thousands.
_PLAIN: Final = ConnectionOptions()


def redacted_options(options: ConnectionOptions) -> ConnectionOptions:
    """Returns the options as they may be shown; without secrets, they come back equal."""
    handshake, opening, liveness = options.handshake, options.opening, options.liveness
    if handshake != _PLAIN.handshake:
        handshake = replace(
            handshake,
            headers=tuple(map(_redacted_header, handshake.headers)),
            proxy=redact(handshake.proxy),
            tls=replace(handshake.tls, key_pem=_hidden(handshake.tls.key_pem)),
        )
    if opening.steps:
        opening = replace(opening, steps=tuple(map(_redacted_step, opening.steps)))
    if heartbeat := liveness.heartbeat:
        heartbeat = replace(heartbeat, send=_redacted_payload(heartbeat.send))
        liveness = replace(liveness, heartbeat=heartbeat)
    return replace(
        options,
        handshake=handshake,
        opening=opening,
        subscriptions=tuple(map(_redacted_subscription, options.subscriptions)),
        liveness=liveness,
    )


def _redacted_header(header: Header) -> Header:
    if not _CREDENTIAL.search(header.name):
        return header
    return replace(header, value=_hidden(header.value))


def _redacted_step(step: Step) -> Step:
    return step if step.send is None else replace(step, send=_redacted_payload(step.send))


def _redacted_subscription(subscription: Subscription) -> Subscription:
    left = subscription.unsubscribe
    return replace(
        subscription,
        subscribe=_redacted_payload(subscription.subscribe),
        unsubscribe=left and _redacted_payload(left),
    )


def _redacted_payload(payload: Payload) -> Payload:
    return replace(payload, text=_MEMBER.sub(_redacted_member, payload.text))


def _redacted_member(match: re.Match[str]) -> str:
    before, name, value = match.groups()
    return f'{before}"{_hidden(value)}"' if _CREDENTIAL.search(name) else match[0]


def _hidden(value: str) -> str:
    return HIDDEN if value and not _REFERENCE.fullmatch(value) else value
