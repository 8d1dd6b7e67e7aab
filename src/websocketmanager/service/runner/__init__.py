"""One connection's life.

`runner` has the state machine, the events that reach it and the callers that wait; `executor`
carries out what the machine commands; `tools` are what all runners share.
"""

from websocketmanager.service.runner.runner import Runner
from websocketmanager.service.runner.tools import Tools

__all__ = ["Runner", "Tools"]
