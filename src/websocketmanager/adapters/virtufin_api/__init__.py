"""The virtufin-api over gRPC, directly or through the Dapr sidecar: StateStore and EventSink.

`channel.py` holds the discipline of every call (deadline, metadata, retries, breaker),
`answers.py` the meaning of answers, `wire.py` the bytes, `state.py` and `publishing.py` the ports.
"""

from websocketmanager.adapters.virtufin_api.api import VirtufinApi
from websocketmanager.adapters.virtufin_api.settings import ApiSettings

__all__ = ["ApiSettings", "VirtufinApi"]
