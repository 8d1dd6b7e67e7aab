"""Journal and tracer on OpenTelemetry, and the logs: what an operator sees of the process.

One package, because the facts' two ways out, records and metrics, belong together:
`catalogue` is the table of metrics, `instruments` aggregates, `journal` and `tracing` implement
the ports, `logs` renders, `running` starts and ends it all.
"""

from websocketmanager.adapters.telemetry.logs import LogFormat, configure_logging
from websocketmanager.adapters.telemetry.running import Telemetry, running_telemetry

__all__ = ["LogFormat", "Telemetry", "configure_logging", "running_telemetry"]
