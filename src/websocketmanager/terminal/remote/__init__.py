"""Calls to a running service and to the virtufin-api, as the command line needs them.

`service` and `api` are the two peers, `failure` is what a call ends in when it does not succeed.
May import the generated messages, errors and grpc; knows neither the service nor its adapters.
"""

from websocketmanager.terminal.remote.api import Api, open_api
from websocketmanager.terminal.remote.failure import CallFailed
from websocketmanager.terminal.remote.service import Service, open_service

__all__ = ["Api", "CallFailed", "Service", "open_api", "open_service"]
