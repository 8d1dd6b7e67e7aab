"""What tests of sessions share: a login, and ways to let time pass and see what came of it."""

from __future__ import annotations

from typing import Any

from tests.kit.quiet import let_time_pass, wait_quiet
from tests.kit.sockets import ScriptedSocket
from tests.service.house import House, World, data_of, spec_of
from websocketmanager.domain.model import ConnectionSpec, FirstDial, Status
from websocketmanager.domain.options import Match, Opening, Pattern, Payload, Step
from websocketmanager.service.entry import Entry

LOGIN_OK = Pattern(Match.POINTER, pointer="/login", value='"ok"')
LOGIN = Step(send=Payload('{"key":"${secret:KEY}"}'), expect=LOGIN_OK, timeout_ms=5000)
SECRET = "s3cret-value"


def login_spec(*steps: Step, **options: Any) -> ConnectionSpec:
    """Returns an intent with these steps, or a login."""
    options.setdefault("opening", Opening(steps or (LOGIN,)))
    return spec_of(first_dial=options.pop("first_dial", FirstDial.RETRY), **options)


async def entered(house: House, spec: ConnectionSpec) -> Entry:
    """Connects without waiting for the first session."""
    view = await house.supervisor.connect(spec)
    await wait_quiet()
    return house.registry.entries[view.id]


async def reconnected(house: House, count: int, *, step: float = 0.5) -> ScriptedSocket:
    """Lets time pass until so many sockets were opened; returns the last."""
    await let_time_pass(house.clock, lambda: len(house.dialer.sockets) >= count, step=step)
    await wait_quiet()
    return house.dialer.sockets[count - 1]


async def advance(house: House, seconds: float, *, step: float = 0.1) -> None:
    """Lets time pass in small steps."""
    for _ in range(round(seconds / step)):
        house.clock.advance(step)
        await wait_quiet()


def said(socket: ScriptedSocket) -> list[str]:
    return [message.data.decode() for message in socket.sent]


def errors(world: World) -> list[tuple[str, str]]:
    """Returns the announced errors: type and message."""
    return [
        (data["error_type"], data["error_message"])
        for event, data in ((event, data_of(event)) for event in world.lifecycle())
        if event.metadata["ce-type"].endswith(".error")
    ]


def degradations(world: World) -> list[tuple[str, bool]]:
    """Returns the announced causes, and whether each came or went."""
    return [
        (data["cause"], data["active"])
        for data in map(data_of, world.lifecycle())
        if "active" in data
    ]


def status(entry: Entry) -> Status:
    return entry.runner.status


def with_key() -> World:
    world = World()
    world.secrets.values["KEY"] = SECRET
    return world
