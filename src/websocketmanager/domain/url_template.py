"""Templates in URLs: where they may stand, and what a dial makes of them. Pure; stdlib only.

In a URL a bare `${secret:NAME}` is percent-encoded when it is put in, as if it were
`${url(secret:NAME)}`; every other expression is put in as it is. Templates may fill user
information, path and query, never the scheme, host or port: those were judged at `Connect`, and
a value that could move them would choose where all the others are sent.
"""

from __future__ import annotations

import re
from typing import Final

from websocketmanager.domain import template
from websocketmanager.domain.handshake_rules import parse_proxy
from websocketmanager.domain.hosts import Malformed
from websocketmanager.domain.template import (
    EvaluationContext,
    EvaluationFailed,
    Template,
    TemplateFault,
)
from websocketmanager.domain.url_policy import parse_url
from websocketmanager.errors import Fault, InvalidArgument

#: After an even number of dollars: before a brace, two of them stand for one.
_BARE_SECRET: Final = re.compile(
    r"(?<!\$)((?:\$\$)*)\$\{[ \t\r\n]*(secret:[A-Za-z0-9_.-]+)[ \t\r\n]*\}"
)
#: Possessive: what stands before an @ is no host.
_IN_HOST: Final = re.compile(r"[^/?#]*//(?:[^/?#]*@)?+[^/?#@]*\$\{")
MAX_PROXY_LENGTH: Final = 2048
#: Harmless wherever a URL may hold a value, and base64.
SAMPLE_VALUE: Final = "AAAA"


class UrlUnusable(EvaluationFailed):
    """The evaluated URL is none, or leads elsewhere. The text repeats nothing of it."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"with its templates evaluated it {problem}")


def parse_url_template(text: str) -> Template:
    """Parses a URL, or that of a proxy, as a template.

    Raises:
        TemplateFault: it is no template.
    """
    return template.parse(_BARE_SECRET.sub(r"\1${url(\2)}", text))


def evaluated_url(url: str, context: EvaluationContext) -> str:
    """Returns the URL to dial.

    Raises:
        TemplateFault: it is no template.
        InvalidArgument: it is no WebSocket URL.
        EvaluationFailed: a secret lacks or is unusable, or the result is no URL of the same
            scheme, host and port. The text holds no secret.
    """
    before = parse_url(url)
    result = parse_url_template(url).evaluate(context)
    try:
        after = parse_url(result)
    except InvalidArgument as error:
        # Not chained: nothing that saw the value goes further.
        raise UrlUnusable(error.faults[0].problem) from None
    if after != before:
        raise UrlUnusable("must keep its scheme, host and port")
    return result


def evaluated_proxy(proxy: str, context: EvaluationContext) -> str:
    """Returns the URL of the proxy to dial.

    Raises:
        TemplateFault: it is no template.
        EvaluationFailed: a secret lacks or is unusable, or the result is no URL of a proxy, or of
            another one than the template's own text names. The text holds no secret.
    """
    parsed = parse_url_template(proxy)
    result = parsed.evaluate(context)
    try:
        before = parse_proxy(parsed.evaluate(sample_context(parsed)))
        after = parse_proxy(result)
    except Malformed as error:
        raise UrlUnusable(str(error)) from None
    if (before.scheme, before.host, before.port) != (after.scheme, after.host, after.port):
        raise UrlUnusable("must keep its scheme, host and port")
    return result


def proxy_faults(proxy: str, path: str = "proxy") -> list[Fault]:
    """Judges the URL of a proxy that may hold templates."""
    if len(proxy) > MAX_PROXY_LENGTH:
        return [Fault(path, f"must have at most {MAX_PROXY_LENGTH} characters, not {len(proxy)}")]
    if _IN_HOST.match(proxy):
        return [Fault(path, "must not have a template in its host or port")]
    try:
        parse_proxy(parse_url_template(proxy).evaluate(sample_context(parse_url_template(proxy))))
    except (Malformed, TemplateFault, EvaluationFailed) as error:
        return [Fault(path, str(error))]
    return []


def url_faults(url: str, path: str = "url") -> list[Fault]:
    """Judges a WebSocket URL that may hold templates."""
    try:
        parse_url(url)
    except InvalidArgument as error:
        if _IN_HOST.match(url):
            return [Fault(path, "must not have a template in its host or port")]
        return [Fault(path, fault.problem) for fault in error.faults]
    if "${" not in url:
        return []
    try:
        evaluated_url(url, sample_context(parse_url_template(url)))
    except (TemplateFault, EvaluationFailed) as error:
        return [Fault(path, str(error))]
    return []


def sample_context(parsed: Template) -> EvaluationContext:
    """Returns what a template can be evaluated with to judge what stands around its secrets."""
    secrets = dict.fromkeys(parsed.secrets, SAMPLE_VALUE)
    return EvaluationContext(now=0.0, nonce="0", uuid="0", secrets=secrets)
