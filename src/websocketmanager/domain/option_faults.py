"""Judges what a connection says, hears and expects: every fault, by the path of its field. Pure.

Templates are parsed, and evaluated once with sample values, so that what stands around a secret
is judged now and only the secret itself at the dial. Patterns are compiled. In every number zero
means the default, or off. No sentence repeats what may be a secret.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NoReturn

from websocketmanager.domain import handshake_rules as rules
from websocketmanager.domain import limits, template
from websocketmanager.domain.handshake_rules import MAX_HEADERS, MAX_SUBPROTOCOLS
from websocketmanager.domain.json_pointer import PointerFault, parse_pointer
from websocketmanager.domain.model import ConnectionOptions
from websocketmanager.domain.options import (
    ApplicationHeartbeat,
    Correlation,
    HandshakeOptions,
    Liveness,
    Match,
    Opening,
    Overlap,
    Pattern,
    Payload,
    Rotation,
    Step,
    Subscription,
    TlsOptions,
)
from websocketmanager.domain.pattern import (
    ByteSearch,
    CompileRegex,
    PatternFault,
    compile_pattern,
)
from websocketmanager.domain.quiet import quiet_window_faults
from websocketmanager.domain.record_options import to_value
from websocketmanager.domain.template import EvaluationFailed, TemplateFault
from websocketmanager.domain.url_template import proxy_faults, sample_context
from websocketmanager.errors import Fault

__all__ = ["MAX_HEADERS", "MAX_SUBPROTOCOLS", "option_faults"]

MAX_STEPS: Final = 32
MAX_REFUSALS: Final = 32
MAX_REFUSAL_NAME_LENGTH: Final = 64
MAX_SUBSCRIPTIONS: Final = 1024
MAX_SUBSCRIPTION_KEY_LENGTH: Final = 256
MAX_QUIET_WINDOWS: Final = 32
MAX_NOTICES: Final = 16
MAX_EXCLUSIVE_LENGTH: Final = 256
MAX_PAYLOAD_BYTES: Final = 65_536
#: Different ones of one connection: each costs milliseconds to compile and memory to search with.
MAX_REGEXES: Final = 64
#: Bytes of all options as JSON: every change of a connection writes them to the store.
MAX_OPTIONS_BYTES: Final = 1_048_576

_MINUTE: Final = 60_000
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
#: Stand for PEM texts that only a secret holds.
_SAMPLE_CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
_SAMPLE_KEY: Final = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"


def option_faults(
    options: ConnectionOptions,
    *,
    compile_regex: CompileRegex | None,
    secure: bool = True,
    path: str = "options",
) -> list[Fault]:
    """Judges all options but those that `limits.options_faults` judges.

    Args:
        options: what the caller chose.
        compile_regex: None where there are no regular expressions: each is a fault.
        secure: whether the URL is wss://.
        path: of the options within the request.
    """
    judge = _Judge(compile_regex)
    judge.handshake(options.handshake, f"{path}.handshake", secure=secure)
    judge.opening(options.opening, f"{path}.opening")
    judge.subscriptions(options.subscriptions, f"{path}.subscriptions")
    judge.liveness(options.liveness, f"{path}.liveness")
    judge.correlation(options.correlation, f"{path}.correlation")
    judge.number(options.send_spacing_ms, f"{path}.send_spacing_ms", 1, _MINUTE)
    if options.exclusive:
        judge.faults += limits.line_faults(
            options.exclusive, f"{path}.exclusive", MAX_EXCLUSIVE_LENGTH
        )
    judge.rotation(options.rotation, f"{path}.rotation")
    if (count := len(judge.regexes)) > MAX_REGEXES:
        problem = f"must have at most {MAX_REGEXES} different regular expressions, not {count}"
        judge.fault(path, problem)
    if not judge.faults:
        size = len(json.dumps(to_value(options), ensure_ascii=False).encode())
        if size > MAX_OPTIONS_BYTES:
            judge.fault(path, f"must take at most {MAX_OPTIONS_BYTES} bytes as JSON, not {size}")
    return judge.faults


class _Judge:
    """Goes through the options of one request and collects the faults."""

    def __init__(self, compile_regex: CompileRegex | None) -> None:
        self.faults: list[Fault] = []
        self._compile_regex = compile_regex or _no_regex
        self._compiled_regexes: dict[str, ByteSearch] = {}
        self._regex_problems: dict[str, str] = {}
        self.regexes: set[str] = set()

    def fault(self, path: str, problem: str) -> None:
        self.faults.append(Fault(path, problem))

    def number(self, value: int, path: str, least: int, most: int) -> None:
        if value:  # zero is the default
            self.faults += limits.range_faults(value, path, least, most)

    def handshake(self, chosen: HandshakeOptions, path: str, *, secure: bool) -> None:
        """The rules are those for evaluated texts; what is a secret is replaced by a sample."""
        headers = [
            (header.name, self._evaluated(header.value, f"{path}.headers[{index}].value"))
            for index, header in enumerate(chosen.headers[: MAX_HEADERS + 1])
        ]
        tls = self._sampled_tls(chosen.tls, f"{path}.tls")
        found = rules.handshake_faults(
            headers=headers,
            subprotocols=chosen.subprotocols,
            origin=chosen.origin,
            tls=tls,
            secure=secure,
        )
        self.faults += [Fault(f"{path}.{fault.path}", fault.problem) for fault in found]
        self.number(chosen.open_timeout_ms, f"{path}.open_timeout_ms", 1, 10 * _MINUTE)
        self.number(chosen.close_timeout_ms, f"{path}.close_timeout_ms", 1, _MINUTE)
        if chosen.proxy:
            self.faults += proxy_faults(chosen.proxy, f"{path}.proxy")

    def opening(self, opening: Opening, path: str) -> None:
        self._count(opening.steps, MAX_STEPS, f"{path}.steps")
        for index, step in enumerate(opening.steps[:MAX_STEPS]):
            self._step(step, f"{path}.steps[{index}]")
        self._count(opening.refusals, MAX_REFUSALS, f"{path}.refusals")
        for index, rule in enumerate(opening.refusals[:MAX_REFUSALS]):
            at = f"{path}.refusals[{index}]"
            self._selective(rule.pattern, f"{at}.pattern")
            if rule.name:
                self.faults += limits.line_faults(rule.name, f"{at}.name", MAX_REFUSAL_NAME_LENGTH)

    def subscriptions(self, wanted: Sequence[Subscription], path: str) -> None:
        self._count(wanted, MAX_SUBSCRIPTIONS, path)
        first: dict[str, int] = {}
        for index, one in enumerate(wanted[:MAX_SUBSCRIPTIONS]):
            at = f"{path}[{index}]"
            self.faults += limits.line_faults(one.key, f"{at}.key", MAX_SUBSCRIPTION_KEY_LENGTH)
            if (same := first.setdefault(one.key, index)) != index:
                self.fault(f"{at}.key", f"must not be that of {path}[{same}], too")
            self._payload(one.subscribe, f"{at}.subscribe")
            if one.unsubscribe is not None:
                self._payload(one.unsubscribe, f"{at}.unsubscribe")
            if one.acknowledge is not None:
                self._selective(one.acknowledge, f"{at}.acknowledge")

    def liveness(self, liveness: Liveness, path: str) -> None:
        for name, value, least, most in (
            ("ping_interval_ms", liveness.ping_interval_ms, 100, _HOUR),
            ("ping_timeout_ms", liveness.ping_timeout_ms, 10, _HOUR),
            ("read_idle_ms", liveness.read_idle_ms, 10, _DAY),
            ("first_data_ms", liveness.first_data_ms, 10, _DAY),
            ("data_age_ms", liveness.data_age_ms, 10, _DAY),
        ):
            self.number(value, f"{path}.{name}", least, most)
        if liveness.data is not None:
            self._pattern(liveness.data, f"{path}.data")
        if liveness.heartbeat is not None:
            self._heartbeat(liveness.heartbeat, f"{path}.heartbeat")
        self._count(liveness.quiet, MAX_QUIET_WINDOWS, f"{path}.quiet")
        for index, window in enumerate(liveness.quiet[:MAX_QUIET_WINDOWS]):
            for fault in quiet_window_faults(window):
                self.fault(f"{path}.quiet[{index}].{fault.path}", fault.problem)

    def correlation(self, correlation: Correlation, path: str) -> None:
        if correlation.reply_pointer and not correlation.request_pointer:
            self.fault(f"{path}.request_pointer", "must be given with reply_pointer")
        self._pointer(correlation.request_pointer, f"{path}.request_pointer")
        self._pointer(correlation.reply_pointer, f"{path}.reply_pointer")

    def rotation(self, rotation: Rotation, path: str) -> None:
        self.number(rotation.max_age_ms, f"{path}.max_age_ms", 1000, 7 * _DAY)
        if rotation.jitter_ms and not rotation.max_age_ms:
            self.fault(f"{path}.max_age_ms", "must be given with jitter_ms")
        elif rotation.max_age_ms > 0:
            self.number(rotation.jitter_ms, f"{path}.jitter_ms", 1, rotation.max_age_ms - 1)
        self._count(rotation.notices, MAX_NOTICES, f"{path}.notices")
        for index, notice in enumerate(rotation.notices[:MAX_NOTICES]):
            self._selective(notice, f"{path}.notices[{index}]")
        self.number(rotation.data_timeout_ms, f"{path}.data_timeout_ms", 10, 10 * _MINUTE)
        self.number(rotation.overlap_window_ms, f"{path}.overlap_window_ms", 1, _MINUTE)
        self._pointer(rotation.overlap_pointer, f"{path}.overlap_pointer")
        if (rotation.overlap is Overlap.POINTER) != bool(rotation.overlap_pointer):
            self.fault(f"{path}.overlap_pointer", "must be given with OVERLAP_POINTER, and only so")
        if rotation.overlap is Overlap.CUT and rotation.overlap_window_ms:
            self.fault(f"{path}.overlap_window_ms", "must not be given with OVERLAP_CUT")

    def _step(self, step: Step, path: str) -> None:
        if step.send is None and step.expect is None:
            self.fault(path, "must send or expect something")
        if step.send is not None:
            self._payload(step.send, f"{path}.send")
        if step.expect is not None:
            self._pattern(step.expect, f"{path}.expect")
        elif step.send is not None:
            if step.timeout_ms:
                self.fault(f"{path}.timeout_ms", "needs expect")
            if step.forward:
                self.fault(f"{path}.forward", "needs expect")
        self.number(step.timeout_ms, f"{path}.timeout_ms", 1, 10 * _MINUTE)

    def _heartbeat(self, heartbeat: ApplicationHeartbeat, path: str) -> None:
        self._payload(heartbeat.send, f"{path}.send")
        self.faults += limits.range_faults(heartbeat.interval_ms, f"{path}.interval_ms", 100, _HOUR)
        self.number(heartbeat.timeout_ms, f"{path}.timeout_ms", 10, _HOUR)
        if heartbeat.expect is not None:
            self._selective(heartbeat.expect, f"{path}.expect")
        elif heartbeat.timeout_ms:
            self.fault(f"{path}.timeout_ms", "needs expect")

    def _payload(self, payload: Payload, path: str) -> None:
        if bool(payload.text) == bool(payload.binary):
            self.fault(path, "must have one of text and binary, and it must not be empty")
        elif len(payload.binary) > MAX_PAYLOAD_BYTES:
            size = len(payload.binary)
            self.fault(f"{path}.binary", f"must have at most {MAX_PAYLOAD_BYTES} bytes, not {size}")
        self._evaluated(payload.text, f"{path}.text")

    def _evaluated(self, text: str, path: str) -> str:
        """Judges a template and returns it with sample values; empty when it has faults."""
        try:
            parsed = template.parse(text)
            return parsed.evaluate(sample_context(parsed))
        except (TemplateFault, EvaluationFailed) as error:
            self.fault(path, str(error))
            return ""

    def _sampled_tls(self, tls: TlsOptions, path: str) -> TlsOptions:
        return replace(
            tls,
            ca_pem=self._pem(tls.ca_pem, f"{path}.ca_pem", _SAMPLE_CERTIFICATE),
            certificate_pem=self._pem(
                tls.certificate_pem, f"{path}.certificate_pem", _SAMPLE_CERTIFICATE
            ),
            key_pem=self._pem(tls.key_pem, f"{path}.key_pem", _SAMPLE_KEY),
        )

    def _pem(self, text: str, path: str, sample: str) -> str:
        """Returns a PEM text that can be judged: the caller's unless a secret makes it."""
        try:
            return text if template.parse(text).is_constant else sample
        except TemplateFault as error:
            self.fault(path, str(error))
            return sample

    def _pattern(self, pattern: Pattern, path: str) -> None:
        if pattern.regex:
            self.regexes.add(pattern.regex)
            if len(self.regexes) > MAX_REGEXES:
                # That there are too many is fault enough; to compile them all takes seconds.
                return
        try:
            compile_pattern(pattern, self._compiled)
        except PatternFault as error:
            self.fault(f"{path}.{error.field}", error.problem)

    def _compiled(self, expression: str, /) -> ByteSearch:
        """Compiles each expression once, also one that cannot be."""
        if problem := self._regex_problems.get(expression):
            raise ValueError(problem)
        if expression not in self._compiled_regexes:
            try:
                self._compiled_regexes[expression] = self._compile_regex(expression)
            except ValueError as error:
                self._regex_problems[expression] = str(error)
                raise
        return self._compiled_regexes[expression]

    def _selective(self, pattern: Pattern, path: str) -> None:
        """A pattern whose matches are not data: one that matches everything ends the stream."""
        if pattern.match is Match.ANY and pattern.frame is None:
            self.fault(path, "must not match every message")
        self._pattern(pattern, path)

    def _pointer(self, pointer: str, path: str) -> None:
        try:
            parse_pointer(pointer)
        except PointerFault as error:
            self.fault(path, str(error))

    def _count(self, several: Sequence[object], most: int, path: str) -> None:
        if len(several) > most:
            self.fault(path, f"must be at most {most}, not {len(several)}")


def _no_regex(_: str, /) -> NoReturn:
    raise ValueError("regular expressions are not available here")
