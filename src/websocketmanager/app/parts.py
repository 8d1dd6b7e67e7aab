"""All parts of one process: made and wired to one another, but not started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from websocketmanager.adapters.message_log import SqliteMessageLog
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.adapters.secrets import FolderAndEnvironmentSecrets
from websocketmanager.adapters.system import SystemClock, SystemDice
from websocketmanager.adapters.telemetry import Telemetry
from websocketmanager.adapters.virtufin_api import VirtufinApi
from websocketmanager.adapters.websocket import WebSocketDialer
from websocketmanager.api.server import ApiServer
from websocketmanager.app.gauges import show_gauges
from websocketmanager.app.policies import api_settings_of, policy_of, profiles_of
from websocketmanager.domain.address_policy import AddressPolicy
from websocketmanager.domain.readiness import Readiness
from websocketmanager.ports import Clock, EventSink, Journal
from websocketmanager.service.index import Index
from websocketmanager.service.lane import Lane
from websocketmanager.service.ledger import Ledger
from websocketmanager.service.outbox import Outbox
from websocketmanager.service.pacing import Pacer
from websocketmanager.service.places import Places
from websocketmanager.service.recovery import Recovery
from websocketmanager.service.registry import Registry
from websocketmanager.service.runner import Tools
from websocketmanager.service.supervisor import Supervisor
from websocketmanager.service.timers import Timers
from websocketmanager.service.trials import Trials
from websocketmanager.settings import Settings
from websocketmanager.web.server import WebServer

#: Makes a sink beside the channel to the API.
SinkMaker = Callable[[Clock, Journal], EventSink]

#: Events that are worth a publish call of their own while others fly.
_MUCH_EVENTS = 256


class Parts:
    """All parts of one process.

    Args:
        settings: validated.
        telemetry: running.
        environ: where secrets are looked up.
        direct: makes what takes the events when the API lives in this process.

    Raises:
        SettingsInvalid: with every fault of every profile.
    """

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        environ: Mapping[str, str],
        direct: SinkMaker | None,
    ) -> None:
        self.settings = settings
        self.telemetry = telemetry
        self.journal = telemetry.journal
        clock, dice = SystemClock(), SystemDice()
        self.clock = clock
        self.policy = policy = policy_of(settings, dice.uuid())
        self.api = VirtufinApi(
            api_settings_of(settings),
            clock=clock,
            dice=dice,
            journal=self.journal,
            inject=telemetry.tracer.inject,
        )
        sink = direct(clock, self.journal) if direct is not None else self.api
        self.lane = Lane(sink, clock, dice, self.journal, much=_MUCH_EVENTS)
        outbox = Outbox(
            self.lane,
            self.journal,
            topic=policy.lifecycle_topic,
            type_prefix=policy.lifecycle_type_prefix,
        )
        self.ledger = Ledger(self.api, outbox, clock, dice, self.journal)
        index = Index(self.api, policy.instance_id)
        dialer = WebSocketDialer(
            AddressPolicy.of(settings.allowed_hosts), clock=clock, engine=settings.socket_engine
        )
        self.timers = Timers(clock, self.journal)
        folder = Path(settings.secrets_folder) if settings.secrets_folder else None
        tools = Tools(
            clock=clock,
            dice=dice,
            dialer=dialer,
            journal=self.journal,
            ledger=self.ledger,
            pacer=Pacer(clock, dice, policy.dial_spacing_at),
            policy=policy,
            secrets=FolderAndEnvironmentSecrets(lambda: environ, folder),
            timers=self.timers,
            places=Places(clock, self.journal, policy.max_sockets_at),
            compile_regex=compile_regex,
        )
        self.log = _message_log(settings, self.journal)
        self.registry = Registry(tools, index, self.lane, self.log)
        self.supervisor = Supervisor(tools, self.api, index, self.registry)
        self.recovery = Recovery(
            self.registry, self.api, index, tools, on_loaded=self.supervisor.begin
        )
        self.grpc = ApiServer(
            self.supervisor,
            Trials(tools),
            host=settings.bind_host,
            port=settings.grpc_port,
            limits=policy.limits,
            compile_regex=compile_regex,
            clock=clock,
            journal=self.journal,
            tracer=telemetry.tracer,
            profiles=profiles_of(settings),
        )
        self.web = WebServer(
            host=settings.bind_host,
            port=settings.http_port,
            readiness=self.readiness,
            render_metrics=telemetry.render_metrics,
        )
        self.stopping = False
        show_gauges(
            telemetry,
            registry=self.registry,
            lane=self.lane,
            publish_mode=lambda: "direct" if direct is not None else self.api.publish_mode,
            is_ready=lambda: self.readiness().ready,
        )

    def readiness(self) -> Readiness:
        """Returns what is missing now."""
        missing = []
        if self.stopping:
            missing.append("stopping")
        if not self.recovery.loaded:
            missing.append("records")
        elif not self.recovery.finished.is_set():
            missing.append("recovery")
        details = {
            "instance_id": self.settings.instance_id,
            "api_breaker": self.api.breaker_state,
            "publishing": "stalled" if self.lane.stalled else "ok",
        }
        return Readiness(tuple(missing), self.recovery.remaining, details)


def _message_log(settings: Settings, journal: Journal) -> SqliteMessageLog | None:
    if not settings.message_log_folder:
        return None
    path = Path(settings.message_log_folder) / f"{settings.instance_id}.sqlite3"
    return SqliteMessageLog(path, journal)
