"""A scripted raw-socket server: says exactly the bytes a test wants, at the moment it wants.

    async def script(session: RawSession) -> None:
        await session.upgrade()
        await session.send_frame(TEXT, b"hello")
        session.reset()

    async with running_raw_peer(script) as peer:
        ...                                  # dial peer.url

The script runs for every connection that is accepted. When it returns, the peer keeps the
connection open and reads until the client goes away. A fault in a script fails the test.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
#: RFC 6455 §1.3.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(eq=False)
class RawRequest:
    """A handshake request; header names in lower case."""

    line: str
    headers: dict[str, str]

    @property
    def path(self) -> str:
        """The path and query asked for."""
        return self.line.split(" ")[1]


@dataclass(eq=False)
class RawSession:
    """One accepted connection, as bytes.

    Attributes:
        ended: set when the client's end of the stream (or its reset) was seen.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    request: RawRequest | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    # --- handshake ---

    async def read_request(self) -> RawRequest:
        """Reads the handshake request."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("ascii")
        line, *rest = head.strip().split("\r\n")
        pairs = (header.split(": ", 1) for header in rest)
        self.request = RawRequest(line, {name.lower(): value for name, value in pairs})
        return self.request

    async def upgrade(self, *lines: str, accept: str | None = None) -> RawRequest:
        """Reads the request and answers 101, with more header lines or another accept value."""
        request = self.request or await self.read_request()
        await self.send(self.upgrade_response(*lines, accept=accept))
        return request

    def upgrade_response(self, *lines: str, accept: str | None = None) -> bytes:
        """Returns the bytes of a right 101 answer to the request that was read."""
        assert self.request is not None
        key = self.request.headers["sec-websocket-key"].encode()
        right = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
        head = (
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {right if accept is None else accept}",
            *lines,
        )
        return "\r\n".join((*head, "", "")).encode()

    async def respond(self, status: int, *lines: str, body: bytes = b"") -> None:
        """Reads the request and answers with a status and header lines, then ends its stream."""
        if self.request is None:
            await self.read_request()
        head = (f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *lines, "", "")
        await self.send("\r\n".join(head).encode() + body)

    # --- bytes and frames ---

    async def send(self, data: bytes) -> None:
        """Writes bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def trickle(self, data: bytes) -> None:
        """Writes bytes one by one, giving the client the chance to read each alone."""
        for index in range(len(data)):
            await self.send(data[index : index + 1])
            await asyncio.sleep(0)

    async def send_frame(
        self,
        opcode: int,
        payload: bytes = b"",
        *,
        fin: bool = True,
        rsv: int = 0,
        masked: bool = False,
        claimed_length: int | None = None,
    ) -> None:
        """Writes one frame, right or wrong in any part."""
        await self.send(
            frame(opcode, payload, fin=fin, rsv=rsv, masked=masked, claimed_length=claimed_length)
        )

    async def send_close(self, code: int | None = None, reason: bytes = b"") -> None:
        """Writes a close frame, with any code and any reason."""
        await self.send_frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)

    async def read_frame(self) -> tuple[int, bytes]:
        """Reads one masked frame of the client; returns its opcode and payload."""
        head = await self.reader.readexactly(2)
        assert head[1] & 0x80, "a client's frames are masked"
        length = head[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
        mask = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(length)
        return head[0] & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))

    async def read_close(self) -> int:
        """Reads frames up to the client's close frame; returns its code, 1005 for none."""
        while True:
            opcode, payload = await self.read_frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big") if payload else 1005

    def stop_reading(self) -> None:
        """Takes nothing more from the network, so that the client's writes pile up."""
        cast("asyncio.Transport", self.writer.transport).pause_reading()

    # --- ends ---

    def finish(self) -> None:
        """Ends the stream with a FIN (TLS: with its closing alert), without a close frame."""
        self.writer.close()

    def reset(self) -> None:
        """Ends the stream with a RST."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def wait_ended(self) -> None:
        """Waits until the client ended its stream, reading what still comes."""
        with suppress(OSError):
            while await self.reader.read(65536):
                pass
        self.ended.set()


Script = Callable[[RawSession], Awaitable[None]]


@dataclass(eq=False)
class RawPeer:
    """A running scripted server and its connections, oldest first."""

    port: int
    scheme: str
    sessions: list[RawSession] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        """The URL of its root, with the address it listens at."""
        return f"{self.scheme}://127.0.0.1:{self.port}/"

    async def wait_session(self, count: int = 1) -> RawSession:
        """Waits until `count` connections were accepted; returns the last of them."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.sessions) >= count)
        return self.sessions[count - 1]

    async def _accepted(self, session: RawSession) -> None:
        async with self._changed:
            self.sessions.append(session)
            self._changed.notify_all()


@asynccontextmanager
async def running_raw_peer(
    script: Script, *, tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[RawPeer]:
    """Runs a scripted server on 127.0.0.1; raises what a script raised, when it ends."""
    faults: list[Exception] = []
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Our own task: one of the streams module would complain about its cancellation.
        task = asyncio.create_task(play(RawSession(reader, writer)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def play(session: RawSession) -> None:
        await peer._accepted(session)
        try:
            await script(session)
            await session.wait_ended()
        except (asyncio.IncompleteReadError, OSError):
            session.ended.set()  # the client went away in the middle, which is its right
        except Exception as fault:  # noqa: BLE001 - told to the test when the peer ends
            faults.append(fault)
        finally:
            session.writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", port, ssl=tls)
    peer = RawPeer(server.sockets[0].getsockname()[1], "wss" if tls else "ws")
    try:
        yield peer
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await server.wait_closed()
    if faults:
        raise ExceptionGroup("faults in the peer's script", faults)


@contextmanager
def refusing_port() -> Iterator[int]:
    """Gives a port of 127.0.0.1 that refuses connections, and that nobody else can take."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextmanager
def black_hole_port() -> Iterator[int]:
    """Gives a port of 127.0.0.1 that answers no connection attempt at all."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        # The kernel completes handshakes up to its backlog and drops the rest in silence.
        with closing(socket.socket()) as first, closing(socket.socket()) as second:
            for filler in (first, second):
                filler.setblocking(False)
                with suppress(BlockingIOError):
                    filler.connect(listener.getsockname())
            yield listener.getsockname()[1]


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = False,
    claimed_length: int | None = None,
) -> bytes:
    """Returns the bytes of one frame; `claimed_length` replaces the true one in its header."""
    length = len(payload) if claimed_length is None else claimed_length
    mask_bit = 0x80 if masked else 0
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if length < 126:
        head = struct.pack("!BB", first, mask_bit | length)
    elif length < 65536:
        head = struct.pack("!BBH", first, mask_bit | 126, length)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, length)
    # A mask of zeros leaves the payload as it is.
    return head + (b"\0\0\0\0" if masked else b"") + payload
