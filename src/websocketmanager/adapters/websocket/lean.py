"""The library's sans-I/O protocol, which forgets its opening handshake once it is over.

Its parser would keep the server's response, and it the URL and the key, for as long as the
connection lives: 2 KiB, and a connection that is idle costs little more.
"""

from __future__ import annotations

from collections.abc import Generator

from websockets.client import ClientProtocol
from websockets.protocol import Protocol


class _Handshake(Protocol):
    """Comes behind `ClientProtocol` and before the parser of frames, which it hides from it."""

    def parse(self) -> Generator[None]:
        """Ends the library's parsing behind the handshake."""
        yield from ()


class LeanProtocol(ClientProtocol, _Handshake):
    """`ClientProtocol` in all it does; without `uri` and `key` once the handshake has succeeded."""

    def parse(self) -> Generator[None]:
        """Reads the opening handshake, then frames; as the library's, step by step."""
        yield from super().parse()
        del self.uri, self.key
        # As the library replaces its parser: this one and what it holds are dropped.
        self.parser = Protocol.parse(self)
        next(self.parser)
        yield
