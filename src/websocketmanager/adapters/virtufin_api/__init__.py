"""The virtufin-api over gRPC, directly or through the Dapr sidecar: StateStore and EventSink.

`channel.py` holds the discipline of every call (deadline, metadata, retries, breaker),
`answers.py` the meaning of answers, `state.py` and `publishing.py` the ports, `stream.py` the
discipline of the one RPC that is a stream.
"""

from websocketmanager.adapters.virtufin_api.api import VirtufinApi
from websocketmanager.adapters.virtufin_api.settings import ApiSettings

__all__ = ["ApiSettings", "VirtufinApi"]
