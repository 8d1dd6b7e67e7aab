"""`ports.Dialer` and `ports.Socket` on the `websockets` library's asyncio client."""

from websocketmanager.adapters.websocket.dialer import WebSocketDialer

__all__ = ["WebSocketDialer"]
