"""`ports.Dialer` and `ports.Socket` on the `websockets` library, by one of two engines.

`driver.py`, `protocol.py`, `reading.py` and `cutting.py` are our reader on the library's sans-I/O
core; `session.py` and `connection.py` its own asyncio client, which is the reference.
"""

from websocketmanager.adapters.websocket.dialer import WebSocketDialer

__all__ = ["WebSocketDialer"]
