"""The journal: one fact in, a log record and metrics out."""

from __future__ import annotations

import logging

from websocketmanager.adapters.telemetry.instruments import Instruments
from websocketmanager.adapters.telemetry.logs import OURS, level_number
from websocketmanager.adapters.telemetry.values import fields_of
from websocketmanager.domain.facts import Fact

_LEVELS = {name: level_number(name) for name in ("debug", "info", "warning", "error", "critical")}


class OpenTelemetryJournal:
    """Implements ports.Journal. One call with logging off costs about a microsecond."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._logger = logging.getLogger(OURS)

    def emit(self, fact: Fact) -> None:
        """Records one fact; never raises."""
        try:
            self._instruments.move(fact)
            level = _LEVELS[fact.LEVEL]
            if self._logger.isEnabledFor(level):
                sentence = fact.SENTENCE.format_map(fields_of(fact))
                self._logger.log(level, "%s", sentence, extra={"fact": fact})
        except Exception:
            # Whoever tells a fact has more important work to do. The sentence is a constant
            # one: the fact itself may be what cannot be shown.
            self._logger.exception("a fact of class %s was not recorded", type(fact).__name__)
