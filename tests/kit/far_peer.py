"""A server in a network namespace of its own, behind a pair of virtual interfaces that can fail.

`running_far_peer` is for a process that is alone in a fresh network namespace (`unshare -n`): it
makes another one, with a server in it, and the link between both. Nothing of it is seen outside.
`python -m tests.kit.far_peer` is that server: it waits for a line, listens and prints its port.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.kit.peer import PeerSession, running_peer

#: Of the link alone, inside the two namespaces.
NEAR, FAR = "10.99.0.1", "10.99.0.2"
NETWORK = "10.99.0.0/30"
_NEAR_END, _FAR_END = "near", "far"
#: No interface has it, so that whoever gets a frame for it drops it.
_NOBODY = "02:00:00:00:00:99"
_TICK_SECONDS = 0.05


async def tick(session: PeerSession) -> None:
    """Sends a number every now and then, whatever it is told."""
    number = 0
    while True:
        number += 1
        await session.send(b"%d" % number)
        await asyncio.sleep(_TICK_SECONDS)


@dataclass(eq=False)
class FarPeer:
    """`tests.kit.link.Link` whose packets are dropped on the way."""

    url: str
    process_id: int

    async def drop(self) -> None:
        await self._address(("replace", FAR, "lladdr", _NOBODY, "nud", "permanent"), NEAR)

    async def heal(self) -> None:
        await self._address(("del", FAR), NEAR)

    async def _address(self, words: tuple[str, ...], other: str) -> None:
        """Says the same of either end's neighbour."""
        await run("ip", "neigh", *words, "dev", _NEAR_END)
        mirrored = [other if word == FAR else word for word in words]
        await run(*inside(self.process_id), "ip", "neigh", *mirrored, "dev", _FAR_END)


@asynccontextmanager
async def running_far_peer() -> AsyncIterator[FarPeer]:
    """Runs the server behind a link; both are gone on leaving.

    Raises:
        NoNamespaces: the machine does not allow it.
    """
    if await run("ip", "-oneline", "addr"):
        raise NoNamespaces("this is no fresh network namespace: it has addresses")
    await run("ip", "link", "set", "lo", "up")
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--net", sys.executable, "-m", "tests.kit.far_peer"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if not await process.stdout.readline():
            raise NoNamespaces("no second network namespace")
        far = inside(process.pid)
        ends = ("name", _NEAR_END, "type", "veth", "peer", "name", _FAR_END)
        await run("ip", "link", "add", *ends, "netns", str(process.pid))
        await run("ip", "addr", "add", f"{NEAR}/30", "dev", _NEAR_END)
        await run("ip", "link", "set", _NEAR_END, "up")
        await run(*far, "ip", "addr", "add", f"{FAR}/30", "dev", _FAR_END)
        await run(*far, "ip", "link", "set", _FAR_END, "up")
        process.stdin.write(b"go\n")
        port = int(await process.stdout.readline())
        yield FarPeer(f"ws://{FAR}:{port}/", process.pid)
    finally:
        process.stdin.close()
        await process.wait()


class NoNamespaces(Exception):
    """This machine does not let us make network namespaces or interfaces."""


def inside(process_id: int) -> tuple[str, ...]:
    """Returns what to put before a command that runs in a process's network namespace."""
    return ("nsenter", "--target", str(process_id), "--net")


async def run(*command: str) -> str:
    """Runs a command to its end; returns what it says. Raises NoNamespaces with its complaint."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complaint = await process.communicate()
    if process.returncode:
        raise NoNamespaces(f"{' '.join(command)}: {complaint.decode().strip()}")
    return said.decode().strip()


def say(line: str) -> None:
    """Tells whoever started this."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main() -> None:
    """Serves until standard input ends."""
    say("here")
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    if await reader.readline():
        async with running_peer(tick, host=FAR) as peer:
            say(str(peer.port))
            await reader.read()


if __name__ == "__main__":
    asyncio.run(main())
