"""Commands that run something: `serve`, `api`, `dev`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Annotated

import typer
from rich.console import Console

from websocketmanager.cli.process import Stop, run, stderr_line, with_own_settings
from websocketmanager.cli.root import cli
from websocketmanager.settings import Settings
from websocketmanager.terminal.exits import Exit
from websocketmanager.terminal.options import Source
from websocketmanager.terminal.preflight import check_api, check_ports


@cli.command()
@with_own_settings()
def serve(
    source: Source,
    embedded_api: Annotated[
        bool, typer.Option("--embedded-api", help="run the embedded API too, in this process")
    ] = False,
) -> None:
    """Runs the service; needs a virtufin-api, or has one in its own process."""
    settings = source.settings()
    ports = [
        (settings.bind_host, settings.http_port, "--http-port"),
        (settings.bind_host, settings.grpc_port, "--grpc-port"),
    ]
    if embedded_api:
        ports.append((settings.bind_host, settings.api_grpc_port, "--api-grpc-port"))
    else:
        check_api(settings)
    check_ports(*ports)

    run(_serve(settings, source.environ, embedded_api=embedded_api))


async def _serve(settings: Settings, environ: Mapping[str, str], *, embedded_api: bool) -> None:
    # Here, because clients start in half the time without them.
    from websocketmanager.adapters.telemetry import configure_logging  # noqa: PLC0415
    from websocketmanager.app import running_app  # noqa: PLC0415

    configure_logging(settings.log_level, settings.log_format, sys.stderr)
    stop = Stop()
    stop.listen()
    # A part that fails by itself cancels the block, and leaving it raises the cause.
    async with AsyncExitStack() as stack:
        if embedded_api:
            from websocketmanager.dev import running_app_with_api  # noqa: PLC0415

            both = running_app_with_api(settings, environ=environ, log=sys.stderr)
            app, running = await stack.enter_async_context(both)
            stderr_line(_embedded_at(running.address, settings))
        else:
            app = await stack.enter_async_context(running_app(settings, environ=environ))
        await stop.asked.wait()
        app.stop_reason = stop.reason
    if app.dropped:
        stderr_line(
            f"error: {app.dropped} events could not be handed to the API within the grace of "
            f"{settings.shutdown_grace_seconds:g} s and are lost"
        )
        stderr_line("next:  allow more with --shutdown-grace-seconds, and look after the API")
        raise typer.Exit(Exit.FAILED)


def _embedded_at(address: str, settings: Settings) -> str:
    return f"virtufin-api (embedded) at {address}, state in {settings.database}"


@cli.command()
@with_own_settings(
    "bind_host",
    "api_grpc_port",
    "database",
    "topic_rules",
    "api_max_message_bytes",
    "log_level",
    "log_format",
)
def api(source: Source) -> None:
    """Runs the embedded API alone: State and Pubsub on SQLite."""
    settings = source.settings()
    check_ports((settings.bind_host, settings.api_grpc_port, "--api-grpc-port"))

    async def work() -> None:
        from websocketmanager.dev import running_api  # noqa: PLC0415 - as above

        stop = Stop()
        stop.listen()
        async with running_api(settings, environ=source.environ, log=sys.stderr) as running:
            stderr_line(_embedded_at(running.address, settings))
            await stop.asked.wait()

    run(work())


@cli.command()
@with_own_settings(
    "http_port",
    "grpc_port",
    "bind_host",
    "api_grpc_port",
    "allowed_hosts",
    "database",
    "topic_rules",
    "log_level",
    "log_format",
)
def dev(
    source: Source,
    duration: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="end after so long")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="lines, even on a terminal")] = False,
) -> None:
    """Runs everything in one process: embedded API, service, demo exchange, live view."""
    from websocketmanager import dev as dev_mode  # noqa: PLC0415 - as above

    async def work() -> None:
        stop = Stop()
        stop.listen()
        with dev_mode.scratch_database() as scratch:
            # The view tells what happens; the log is for what it cannot show.
            settings = source.settings(database=scratch, log_level="error")
            check_ports(
                (settings.bind_host, settings.http_port, "--http-port"),
                (settings.bind_host, settings.grpc_port, "--grpc-port"),
                (dev_mode.LOOPBACK, settings.api_grpc_port, "--api-grpc-port"),
            )
            await dev_mode.run_dev(
                settings,
                dev_mode.view_for(Console(), plain=plain),
                environ=source.environ,
                log=sys.stderr,
                stop=stop.asked,
                duration_seconds=duration,
            )

    run(work())
