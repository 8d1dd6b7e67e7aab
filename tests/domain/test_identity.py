"""Ids and keys of the contract."""

from __future__ import annotations

import uuid

from websocketmanager.domain import identity
from websocketmanager.domain.model import ConnectionId, InstanceId


def test_a_name_has_one_id_in_every_process() -> None:
    one = identity.connection_id_of_name("binance-btcusdt")
    assert one == identity.connection_id_of_name("binance-btcusdt")
    assert one != identity.connection_id_of_name("binance-ethusdt")
    assert uuid.UUID(one).version == 5


def test_keys() -> None:
    assert identity.record_key(ConnectionId("x")) == "websocketmanager.connection.x"
    assert identity.index_key(InstanceId("i")) == "websocketmanager.instance.index.i"
    assert identity.heartbeat_key(InstanceId("i")) == "websocketmanager.heartbeat.i"
    assert identity.PEERS_KEY == "websocketmanager.heartbeat.peers"


def test_record_ids_come_back_from_keys() -> None:
    assert identity.record_id("websocketmanager.connection.x") == "x"
    assert identity.record_id("websocketmanager.instance.index.i") is None
