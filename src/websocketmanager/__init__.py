"""websocketmanager: holds outbound WebSocket connections for other services."""

__version__ = "0.1.0"
